/* libFuzzer driver for targets written in Cython.
 *
 * Embeds Python, imports the module named by NSDATA_FUZZ_TARGET and asks it for the
 * address of its entry point once (its `entry()` returns it as an int). Inputs then go
 * straight to C: no Python object is made per input. */
#include <Python.h>

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef int (*fuzz_entry)(const uint8_t *, size_t);

static fuzz_entry entry_point;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const char *name = getenv("NSDATA_FUZZ_TARGET");
    if (!name) {
        fprintf(stderr, "driver: NSDATA_FUZZ_TARGET is not set; use tests/fuzz/one.sh\n");
        exit(2);
    }
    Py_InitializeEx(0); /* 0: libFuzzer keeps its signal handlers */
    PyObject *module = PyImport_ImportModule(name);
    PyObject *address = module ? PyObject_CallMethod(module, "entry", NULL) : NULL;
    if (address)
        entry_point = (fuzz_entry)(uintptr_t)PyLong_AsUnsignedLongLong(address);
    if (PyErr_Occurred() || !entry_point) {
        PyErr_Print();
        exit(2);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return entry_point(data, size);
}
