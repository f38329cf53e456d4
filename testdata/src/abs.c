/* A library that the sysroots offer only through an absolute symbolic link, and that no package owns. */

int abs_value(void);
int abs_value(void) { return 7; }
