/* int tcsetwinsize(int, const struct winsize *): set a terminal's size. Source: POSIX.1-2024, tcsetwinsize;
 * TIOCSWINSZ(2const). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <sys/ioctl.h>
#include <termios.h>

EXPORT int tcsetwinsize(int file, const struct winsize *size)
{
	return ioctl(file, (int)TIOCSWINSZ, size);
}
