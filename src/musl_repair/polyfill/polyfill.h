/* What all polyfills share. A polyfill is one exported function, and all that it calls is in every musl that it is
 * meant for: tools/build_polyfill.py links it against exactly those names. */
#ifndef POLYFILL_H
#define POLYFILL_H

/* For the one function that the library exports; all else is hidden by the compiler's options. */
#define EXPORT __attribute__((visibility("default")))

#endif
