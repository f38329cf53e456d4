/* The extension module of the demo wheel, written against the limited API of CPython 3.10, with no Python.h.
 *
 * The declarations below are the parts of the stable ABI that are used here, with the layout that its documents fix
 * (https://docs.python.org/3/c-api/stable.html, module.html, structures.html). Every member is a pointer, a
 * Py_ssize_t (as wide as a pointer) or an int followed by padding: so one text serves 32 and 64 bits.
 */

#include <stddef.h>

typedef ptrdiff_t Py_ssize_t;
typedef struct PyTypeObject PyTypeObject;

typedef struct {
    Py_ssize_t ob_refcnt;
    PyTypeObject *ob_type;
} PyObject;

typedef PyObject *(*PyCFunction)(PyObject *self, PyObject *args);

typedef struct {
    const char *ml_name;
    PyCFunction ml_meth;
    int ml_flags;
    const char *ml_doc;
} PyMethodDef;

typedef struct {
    PyObject ob_base;
    PyObject *(*m_init)(void);
    Py_ssize_t m_index;
    PyObject *m_copy;
} PyModuleDef_Base;

typedef struct {
    int slot;
    void *value;
} PyModuleDef_Slot;

typedef struct {
    PyModuleDef_Base m_base;
    const char *m_name;
    const char *m_doc;
    Py_ssize_t m_size;
    PyMethodDef *m_methods;
    PyModuleDef_Slot *m_slots;
    int (*m_traverse)(PyObject *self, int (*visit)(PyObject *, void *), void *arg);
    int (*m_clear)(PyObject *self);
    void (*m_free)(void *self);
} PyModuleDef;

#define METH_NOARGS 0x0004

PyObject *PyLong_FromLong(long value);
PyObject *PyModuleDef_Init(PyModuleDef *def);

int mid_answer(void);
int mid_counter(void);

static PyObject *demo_answer(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    return PyLong_FromLong(mid_answer());
}

static PyObject *demo_counter(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    return PyLong_FromLong(mid_counter());
}

static PyMethodDef demo_methods[] = {
    {"answer", demo_answer, METH_NOARGS, "Return 42, computed in libleaf.so.1 on behalf of libmid.so.2."},
    {"counter", demo_counter, METH_NOARGS, "Count up in a thread-local variable of libleaf.so.1."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot demo_slots[] = {{0, NULL}};

static PyModuleDef demo_module = {
    .m_base = {.ob_base = {.ob_refcnt = 1}},
    .m_name = "demo._ext",
    .m_doc = "The compiled half of the demo wheel.",
    .m_methods = demo_methods,
    .m_slots = demo_slots,
};

__attribute__((visibility("default"))) PyObject *PyInit__ext(void);
PyObject *PyInit__ext(void) { return PyModuleDef_Init(&demo_module); }
