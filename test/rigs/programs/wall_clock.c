/* Shifts CLOCK_REALTIME of one process by the number in a file [s], for tests of clock jumps.
 *
 * Use: LD_PRELOAD it, with WALL_CLOCK_FILE naming a file that contains a double. Waits until a
 * time on that clock are converted back to the kernel's time, so that their duration does not
 * change. A time below 1e9 s belongs to the monotonic clock and is not changed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile double *moved;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("WALL_CLOCK_FILE");
  int file = path ? open(path, O_RDONLY) : -1;
  void *place = file < 0 ? MAP_FAILED : mmap(0, sizeof(double), PROT_READ, MAP_SHARED, file, 0);
  if (place != MAP_FAILED) moved = place;
}

static void shift(struct timespec *at, double by) {
  long long ns = at->tv_sec * 1000000000LL + at->tv_nsec + (long long)(by * 1e9);
  at->tv_sec = ns / 1000000000LL;
  at->tv_nsec = ns % 1000000000LL;
}

static struct timespec real(const struct timespec *at) {
  struct timespec put = *at;
  if (moved && at->tv_sec > 1000000000) shift(&put, -*moved);
  return put;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
  static int (*next)(clockid_t, struct timespec *);
  if (!next) next = dlsym(RTLD_NEXT, "clock_gettime");
  int code = next(clock, at);
  if (!code && moved && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    shift(at, *moved);
  return code;
}

int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into) *into = now.tv_sec;
  return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                           const struct timespec *at) {
  static int (*next)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
  if (!next) next = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
  if (!next) next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  struct timespec put = real(at);
  return next(condition, mutex, &put);
}

int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *at) {
  static int (*next)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
  if (!next) next = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
  struct timespec put = real(at);
  return next(condition, mutex, clock, &put);
}

int sem_timedwait(sem_t *semaphore, const struct timespec *at) {
  static int (*next)(sem_t *, const struct timespec *);
  if (!next) next = dlsym(RTLD_NEXT, "sem_timedwait");
  struct timespec put = real(at);
  return next(semaphore, &put);
}
