/* A library that has one function (-DDEFINES=name). */

void DEFINES(void);
void DEFINES(void) {}
