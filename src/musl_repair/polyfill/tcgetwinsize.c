/* int tcgetwinsize(int, struct winsize *): a terminal's size.
 * Source: POSIX.1-2024, tcgetwinsize; TIOCGWINSZ(2const). */
#define _GNU_SOURCE
#include "polyfill.h"
#include <sys/ioctl.h>
#include <termios.h>

EXPORT int tcgetwinsize(int file, struct winsize *size)
{
	return ioctl(file, (int)TIOCGWINSZ, size);
}
