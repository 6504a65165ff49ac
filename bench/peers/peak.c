// The most multiply-adds that this host's cores do in registers alone, in GFLOP/s: prints one number.
// Compiled with -ffp-contract=fast they are fused where the processor can; with -ffp-contract=off they are apart.
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
// Enough chains to hide the latency of an addition behind a multiplication, few enough for 16 registers.
#define CHAINS 12
#define TURNS 100000000L
#define ROUNDS 5
#define MOST_CORES 256

typedef float lanes_t __attribute__((vector_size(4 * LANES)));

static volatile float seed = 0.5f;
static volatile float sink[MOST_CORES];

static void *work(void *at) {
  lanes_t c[CHAINS];
  lanes_t m, a;
  for (int l = 0; l < LANES; l++) m[l] = 0.875f + 0 * seed, a[l] = 0.25f * seed;
  for (int i = 0; i < CHAINS; i++)
    for (int l = 0; l < LANES; l++) c[i][l] = seed + i;
  for (long turn = 0; turn < TURNS; turn++) {
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) c[i] = c[i] * m + a;
  }
  float sum = 0;
  for (int i = 0; i < CHAINS; i++)
    for (int l = 0; l < LANES; l++) sum += c[i][l];
  *(volatile float *)at = sum;
  return NULL;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(void) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  if (cores > MOST_CORES) cores = MOST_CORES;
  double best = 0;
  for (int round = 0; round < ROUNDS; round++) {
    pthread_t threads[MOST_CORES];
    double start = now();
    for (long i = 0; i < cores; i++) pthread_create(&threads[i], NULL, work, (void *)&sink[i]);
    for (long i = 0; i < cores; i++) pthread_join(threads[i], NULL);
    double gflops = 2.0 * LANES * CHAINS * TURNS * cores / (now() - start) / 1e9;
    if (gflops > best) best = gflops;
  }
  printf("%.1f\n", best);
  return 0;
}
