/* A library as an extension module is one, which needs libabs.so.1; abs_ext_value() is 7. */

int abs_value(void);

int abs_ext_value(void);
int abs_ext_value(void) { return abs_value(); }
