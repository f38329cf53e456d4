/* Two functions of the system's libz. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <zlib.h>

static PyObject *ext_crc32(PyObject *module, PyObject *argument)
{
    char *data;
    Py_ssize_t size;

    (void)module;
    if (PyBytes_AsStringAndSize(argument, &data, &size) < 0)
        return NULL;
    return PyLong_FromUnsignedLong(crc32(0, (const unsigned char *)data, (uInt)size));
}

static PyObject *ext_version(PyObject *module, PyObject *nothing)
{
    (void)module;
    (void)nothing;
    return PyUnicode_FromString(zlibVersion());
}

static PyMethodDef methods[] = {
    {"crc32", ext_crc32, METH_O, "Return the CRC-32 of bytes."},
    {"version", ext_version, METH_NOARGS, "Return the version of libz."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_ext", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__ext(void)
{
    return PyModule_Create(&module);
}
