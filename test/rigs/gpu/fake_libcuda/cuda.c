/* A libcuda.so.1 for machines without a GPU: real CUDA bindings run on it, on the CPU's memory.
 *
 * Statuses, contexts for each thread and captures follow the driver; copies are done at once. The
 * test adds other names that a binding looks up; these fail when they are called.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long address;

enum {
    OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, UNSUPPORTED = 900, UNMATCHED = 903
};

typedef struct copy { void *to; const void *from; size_t size; struct copy *next; } copy;
typedef struct { int capturing; copy *first, **last; } stream;
typedef struct { copy *first; } graph;

static __thread void *contexts[64];
static __thread int depth;
static int initialized, retained, live;
static char context[16];

#define DEMAND_CONTEXT                                                        \
    if (!initialized) return NOT_INITIALIZED;                                 \
    if (!depth || contexts[depth - 1] != (void *)context) return INVALID_CONTEXT;

/* For the test: number of allocations that are not freed, and of retains of the context. */
int fake_live(void) { return live; }
int fake_retained(void) { return retained; }

int cuInit(unsigned flags) { initialized = 1; return OK; }
int cuDriverGetVersion(int *version) { *version = 13000; return OK; }
int cuDeviceGetCount(int *count) { *count = 1; return initialized ? OK : NOT_INITIALIZED; }
int cuDeviceGet(int *device, int ordinal) { *device = 0; return ordinal ? INVALID_DEVICE : OK; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "no GPU", size); return OK; }
int cuDeviceComputeCapability(int *major, int *minor, int device) {
    *major = 8; *minor = 7; return OK;
}
int cuDeviceGetAttribute(int *value, int kind, int device) {
    *value = kind == 18 ? getenv("FAKE_GPU_INTEGRATED") != 0 : kind == 75 ? 8 : kind == 76 ? 7 : 0;
    return OK;
}

int cuDevicePrimaryCtxRetain(void **made, int device) { retained++; *made = context; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { retained--; return OK; }
int cuCtxPushCurrent_v2(void *given) { contexts[depth++] = given; return OK; }
int cuCtxPopCurrent_v2(void **popped) {
    if (!depth) return INVALID_CONTEXT;
    *popped = contexts[--depth];
    return OK;
}
int cuCtxSetCurrent(void *given) {
    if (depth) depth--;
    contexts[depth++] = given;
    return OK;
}

static int allocated(void **made, size_t size, size_t alignment) {
    if (!size || posix_memalign(made, alignment, size)) return OUT_OF_MEMORY;
    memset(*made, 0xff, size); /* unwritten memory is not zero */
    live++;
    return OK;
}
static int freed(void *given) { free(given); live--; return OK; }

int cuMemHostAlloc(void **made, size_t size, unsigned flags) {
    DEMAND_CONTEXT
    return flags & 2 ? allocated(made, size, 4096) : INVALID_VALUE;
}
int cuMemHostGetDevicePointer_v2(address *made, void *host, unsigned flags) {
    DEMAND_CONTEXT
    *made = (address)host;
    return OK;
}
int cuMemFreeHost(void *host) { DEMAND_CONTEXT return freed(host); }
int cuMemAlloc_v2(address *made, size_t size) {
    DEMAND_CONTEXT
    return allocated((void **)made, size, 512);
}
int cuMemFree_v2(address given) { DEMAND_CONTEXT return freed((void *)given); }

static int enqueued(void *to, const void *from, size_t size, stream *on) {
    DEMAND_CONTEXT
    if (!on) return INVALID_HANDLE;
    if (!on->capturing) {
        memcpy(to, from, size);
        return OK;
    }
    copy *made = malloc(sizeof *made);
    *made = (copy){to, from, size, 0};
    *on->last = made;
    on->last = &made->next;
    return OK;
}
int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t size, stream *on) {
    return enqueued((void *)to, from, size, on);
}
int cuMemcpyDtoHAsync_v2(void *to, address from, size_t size, stream *on) {
    return enqueued(to, (void *)from, size, on);
}
int cuMemcpyDtoDAsync_v2(address to, address from, size_t size, stream *on) {
    return enqueued((void *)to, (void *)from, size, on);
}

int cuStreamCreate(stream **made, unsigned flags) {
    DEMAND_CONTEXT
    if (flags != 1) return INVALID_VALUE; /* CU_STREAM_NON_BLOCKING */
    *made = calloc(1, sizeof **made);
    live++;
    return OK;
}
int cuStreamSynchronize(stream *on) { DEMAND_CONTEXT return on->capturing ? UNSUPPORTED : OK; }
int cuStreamDestroy_v2(stream *on) { DEMAND_CONTEXT return freed(on); }
int cuEventCreate(void **made, unsigned flags) { DEMAND_CONTEXT return allocated(made, 8, 8); }
int cuEventRecord(void *event, stream *on) { DEMAND_CONTEXT return OK; }
int cuEventSynchronize(void *event) { DEMAND_CONTEXT return OK; }
int cuEventDestroy_v2(void *event) { DEMAND_CONTEXT return freed(event); }

int cuStreamBeginCapture_v2(stream *on, int mode) {
    DEMAND_CONTEXT
    if (mode != 1) return INVALID_VALUE; /* CU_STREAM_CAPTURE_MODE_THREAD_LOCAL */
    on->capturing = 1;
    on->first = 0;
    on->last = &on->first;
    return OK;
}
int cuStreamEndCapture(stream *on, graph **made) {
    DEMAND_CONTEXT
    if (!on->capturing) return UNMATCHED;
    on->capturing = 0;
    *made = malloc(sizeof **made);
    (*made)->first = on->first;
    live++;
    return OK;
}
int cuGraphInstantiateWithFlags(graph **made, graph *from, address flags) {
    DEMAND_CONTEXT
    *made = malloc(sizeof **made);
    **made = *from;
    live++;
    return OK;
}
int cuGraphLaunch(graph *given, stream *on) {
    DEMAND_CONTEXT
    for (copy *one = given->first; one; one = one->next) memcpy(one->to, one->from, one->size);
    return OK;
}
int cuGraphExecDestroy(graph *given) { DEMAND_CONTEXT return freed(given); }
int cuGraphDestroy(graph *given) { DEMAND_CONTEXT return freed(given); }

int cuGetErrorName(int status, const char **text) {
    static char name[40];
    snprintf(name, sizeof name, "CUDA_ERROR_%d", status);
    *text = name;
    return OK;
}
int cuGetErrorString(int status, const char **text) { *text = "no text"; return OK; }

/* Return the newest form of a name, like the driver. */
int cuGetProcAddress_v2(const char *name, void **found, int version, address flags, int *status) {
    char newer[128];
    snprintf(newer, sizeof newer, "%s_v2", name);
    *found = dlsym(RTLD_DEFAULT, newer);
    if (!*found) *found = dlsym(RTLD_DEFAULT, name);
    if (!strcmp(name, "cuGraphInstantiate")) *found = (void *)cuGraphInstantiateWithFlags;
    if (status) *status = *found ? 0 : 1;
    return *found ? OK : NOT_FOUND;
}
