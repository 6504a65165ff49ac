/* The processor's peak in float32, in registers alone: GFLOP/s of fused multiply-adds, and of a multiplication and an addition
   apart. Each kind has as many threads as the argument says, and each thread has CHAINS independent vectors. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
/* Two units with latencies of four or five cycles need ten vectors; 16 registers hold no more beside m, a and products. */
#define CHAINS 10
#define ROUNDS 4000000L
#define REPEATS 5

typedef float vec __attribute__((vector_size(4 * LANES)));

/* Chains that tend to 1, so that no value overflows or turns denormal. The empty assembly keeps every chain in a register, and
   keeps the product of the second kind a value of its own, which no compiler may fuse with the addition after it. */
#define KEEP(x) __asm__ volatile("" : REGISTER(x))
#if defined(__x86_64__)
#define REGISTER(x) "+x"(x)
#elif defined(__aarch64__)
#define REGISTER(x) "+w"(x)
#else
#error "peak.c knows x86-64 and arm64."
#endif

#define ALL(DO) DO(c0) DO(c1) DO(c2) DO(c3) DO(c4) DO(c5) DO(c6) DO(c7) DO(c8) DO(c9)
#define START(c) vec c = m * (float)__COUNTER__; KEEP(c);
#define ADD(c) sum += c;
#define FUSED(c) c = c * m + a; KEEP(c);
#define APART(c) { vec product = c * m; KEEP(product); c = product + a; KEEP(c); }
#define PEAK(name, STEP)                                  \
  static void *name(void *out) {                          \
    vec m = (vec){0} + 0.875f, a = (vec){0} + 0.125f;     \
    KEEP(m);                                              \
    KEEP(a);                                              \
    ALL(START)                                            \
    for (long round = 0; round < ROUNDS; round++) {       \
      ALL(STEP)                                           \
    }                                                     \
    vec sum = m;                                          \
    ALL(ADD)                                              \
    *(float *)out = sum[0];                               \
    return NULL;                                          \
  }

PEAK(fused, FUSED)
PEAK(apart, APART)

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* GFLOP/s of one run on all threads. */
static double rate(void *(*kind)(void *), int threads, pthread_t *started, float *out) {
  double start = now();
  for (int i = 0; i < threads; i++)
    if (pthread_create(&started[i], NULL, kind, &out[i])) exit(1);
  for (int i = 0; i < threads; i++) pthread_join(started[i], NULL);
  return 2.0 * LANES * CHAINS * ROUNDS * threads / (now() - start) / 1e9;
}

int main(int count, char **arguments) {
  int threads = count > 1 ? atoi(arguments[1]) : 1;
  if (threads < 1 || threads > 4096) return 1;
  pthread_t *started = calloc(threads, sizeof *started);
  float *out = calloc(threads, sizeof *out);
  if (!started || !out) return 1;
  double best[2] = {0, 0};
  /* The kinds take turns, so that both meet the same pace of the machine; the best of each is its peak. */
  for (int repeat = 0; repeat < REPEATS; repeat++)
    for (int kind = 0; kind < 2; kind++) {
      double gflops = rate(kind ? apart : fused, threads, started, out);
      if (gflops > best[kind]) best[kind] = gflops;
    }
  printf("{\"fused\": %.1f, \"apart\": %.1f, \"lanes\": %d, \"value\": %g}\n", best[0], best[1], LANES, out[0]);
  return 0;
}
