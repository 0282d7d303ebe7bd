// Linear layers over int8 weights, for rows of bfloat16 or float32 activations:
//
//   y[r][o] = sum over i of x[r][i] * factor[i] * q[o][i] * scale[o][i / GROUP]  (+ bias, residual)
//
// Within a row and group the activations become whole numbers of 16 bits over a step of their own,
// held as two planes of 8 bits: so a byte of weight is read from memory and never widened, and
// products and sums inside a group are exact. The step is 1/32639 of the group's greatest number:
// finer than bfloat16 is for that number. Weights are stored plus 128, because the processor's dot
// product wants one unsigned side; the surplus, 128 times the sum of the group's activations, is
// taken off where its sum starts.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "parallel.h"
#include "scratch.h"
#include "vectors.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define INT8_VNNI 1
#endif

namespace native {
namespace {

constexpr long GROUP = 64;   // inputs that share a scale; quantise.py has the same number
constexpr long TILE = 32;    // outputs side by side in memory; int8_linear.py has the same number
constexpr long QUADS = GROUP / 4;
constexpr int BLOCK = 6;     // rows in flight: their sums fill the vector registers
constexpr long CHUNK = 192;  // rows packed at a time, whole blocks: they stay in the L2 cache
constexpr float LEVELS = 32639;         // 127 * 256 + 127: the greatest number of two planes
constexpr float LEAST = 1e-30f;         // a group below it counts as zero
constexpr long LEAST_PRODUCTS = 1 << 18;  // for a second thread to be worth its start

typedef int8_t i8x16 __attribute__((vector_size(16)));

struct Weight {
  const uint8_t* values;   // [tiles][inputs / 4][TILE][4], each plus 128
  const uint16_t* scales;  // [tiles][groups][TILE], bfloat16
  const float* factors;    // [groups * GROUP], or null for ones
  const float* bias;       // [tiles * TILE], or null for zeros
  int64_t outputs, inputs, groups;

  long tiles() const { return (outputs + TILE - 1) / TILE; }
};

// A block of packed rows: planes [inputs / 4][rows][2][4], the high one first; steps and surplus
// [groups][rows].
struct Packed {
  int8_t* planes;
  float* steps;
  int32_t* surplus;
  int rows;
};

// One group of one row. A number that isn't finite makes the step, and so the row, not-a-number.
void pack_group(const float* x, long group, long row, const Packed& to) {
  constexpr float ROUNDER = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
  f32x16 parts[GROUP / LANES];
  i32x16 magnitudes = {};
  for (long i = 0; i < GROUP / LANES; i++) {
    parts[i] = load(x + i * LANES);
    const i32x16 bits = bits_as<i32x16>(parts[i]) & 0x7fffffff;
    magnitudes = bits > magnitudes ? bits : magnitudes;
  }
  int32_t most = 0;
  for (long i = 0; i < LANES; i++) most = std::max(most, magnitudes[i]);
  const bool finite = most < 0x7f800000;
  const float greatest = finite ? bits_as<float>(most) : 0.0f;
  const bool is_zero = greatest < LEAST;
  const float inverse = is_zero ? 0.0f : LEVELS / greatest;
  i32x16 sums = {};
  for (long i = 0; i < GROUP / LANES; i++) {
    if (is_zero) parts[i] = splat(0);
    const f32x16 rounded = parts[i] * inverse + ROUNDER;
    const i32x16 whole = bits_as<i32x16>(rounded) - bits_as<int32_t>(ROUNDER);
    const i32x16 high = (whole + 128) >> 8;
    const i8x16 planes[2] = {__builtin_convertvector(high, i8x16),
                             __builtin_convertvector(whole - high * 256, i8x16)};
    for (long quad = 0; quad < LANES / 4; quad++) {
      const long place = (group * QUADS + i * LANES / 4 + quad) * to.rows + row;
      for (long plane = 0; plane < 2; plane++) {
        const char* from = reinterpret_cast<const char*>(&planes[plane]) + quad * 4;
        std::memcpy(to.planes + place * 8 + plane * 4, from, 4);
      }
    }
    sums += whole;
  }
  int32_t sum = 0;
  for (long i = 0; i < LANES; i++) sum += sums[i];
  to.steps[group * to.rows + row] = finite ? greatest / LEVELS : __builtin_nanf("");
  to.surplus[group * to.rows + row] = -128 * sum;
}

template <class Num>
void pack_row(const Weight& w, const Num* x, long row, const Packed& to) {
  alignas(64) float values[GROUP];
  for (long group = 0; group < w.groups; group++) {
    const long first = group * GROUP;
    const long count = std::min<long>(GROUP, w.inputs - first);
    for (long i = 0; i < count; i++) values[i] = to_float(x[first + i]);
    std::fill(values + count, values + GROUP, 0.0f);
    if (w.factors) {
      for (long i = 0; i < GROUP; i++) values[i] *= w.factors[first + i];
    }
    pack_group(values, group, row, to);
  }
}

#ifdef INT8_VNNI

NATIVE_INLINE __m512i repeat_four(const int8_t* from) {
  int32_t four;
  std::memcpy(&four, from, 4);
  return _mm512_set1_epi32(four);
}

// The products of a block of rows with one tile: [ROWS][TILE].
template <int ROWS>
void multiply(const Weight& w, const Packed& x, long tile, float* out) {
  std::fill(out, out + ROWS * TILE, 0.0f);  // in memory: the registers are for the whole numbers
  const uint8_t* values = w.values + tile * w.groups * GROUP * TILE;
  const bf16* scales = reinterpret_cast<const bf16*>(w.scales) + tile * w.groups * TILE;
  const int8_t* planes = x.planes;
  for (long group = 0; group < w.groups; group++) {
    __m512i high[ROWS][2], low[ROWS][2];
    for (int r = 0; r < ROWS; r++) {
      high[r][0] = high[r][1] = _mm512_setzero_si512();
      low[r][0] = low[r][1] = _mm512_set1_epi32(x.surplus[group * ROWS + r]);
    }
    for (long quad = 0; quad < QUADS; quad++) {
      const __m512i first = _mm512_loadu_si512(values);
      const __m512i second = _mm512_loadu_si512(values + 64);
      for (int r = 0; r < ROWS; r++) {
        const __m512i high_four = repeat_four(planes + r * 8);
        const __m512i low_four = repeat_four(planes + r * 8 + 4);
        high[r][0] = _mm512_dpbusd_epi32(high[r][0], first, high_four);
        high[r][1] = _mm512_dpbusd_epi32(high[r][1], second, high_four);
        low[r][0] = _mm512_dpbusd_epi32(low[r][0], first, low_four);
        low[r][1] = _mm512_dpbusd_epi32(low[r][1], second, low_four);
      }
      values += 4 * TILE;
      planes += 8 * ROWS;
    }
    for (int half = 0; half < 2; half++) {
      const f32x16 scale = load(scales + group * TILE + half * LANES);
      for (int r = 0; r < ROWS; r++) {
        const __m512i whole = _mm512_add_epi32(_mm512_slli_epi32(high[r][half], 8), low[r][half]);
        const f32x16 step = scale * x.steps[group * ROWS + r];
        float* sum = out + r * TILE + half * LANES;
        store(sum, load(sum) + (f32x16)_mm512_cvtepi32_ps(whole) * step);
      }
    }
  }
}

#else

template <int ROWS>
void multiply(const Weight& w, const Packed& x, long tile, float* out) {
  std::fill(out, out + ROWS * TILE, 0.0f);
  const uint8_t* values = w.values + tile * w.groups * GROUP * TILE;
  const bf16* scales = reinterpret_cast<const bf16*>(w.scales) + tile * w.groups * TILE;
  for (long group = 0; group < w.groups; group++) {
    for (int r = 0; r < ROWS; r++) {
      int32_t sums[TILE];
      std::fill(sums, sums + TILE, x.surplus[group * ROWS + r]);
      for (long quad = group * QUADS; quad < (group + 1) * QUADS; quad++) {
        const int8_t* planes = x.planes + (quad * ROWS + r) * 8;
        for (long i = 0; i < 4; i++) {
          const int32_t activation = planes[i] * 256 + planes[4 + i];
          const uint8_t* column = values + quad * TILE * 4 + i;
          for (long o = 0; o < TILE; o++) sums[o] += column[o * 4] * activation;
        }
      }
      const float step = x.steps[group * ROWS + r];
      for (long o = 0; o < TILE; o++) {
        out[r * TILE + o] += float(sums[o]) * (to_float(scales[group * TILE + o]) * step);
      }
    }
  }
}

#endif

void multiply_rows(const Weight& w, const Packed& x, long tile, float* out) {
  switch (x.rows) {
    case 1: return multiply<1>(w, x, tile, out);
    case 2: return multiply<2>(w, x, tile, out);
    case 3: return multiply<3>(w, x, tile, out);
    case 4: return multiply<4>(w, x, tile, out);
    case 5: return multiply<5>(w, x, tile, out);
    default: return multiply<BLOCK>(w, x, tile, out);
  }
}

// A row's part of a tile to its place, with bias and residual.
template <class Num>
void finish(const Weight& w, const float* out, long row, long tile, const Num* residual, Num* y) {
  const long first = tile * TILE;
  const long count = std::min<long>(TILE, w.outputs - first);
  const long place = row * w.outputs + first;
  float values[TILE];
  for (long o = 0; o < count; o++) values[o] = w.bias ? out[o] + w.bias[first + o] : out[o];
  if (residual) {
    for (long o = 0; o < count; o++) values[o] += to_float(residual[place + o]);
  }
  for (long o = 0; o < count; o++) put(y + place + o, values[o]);
}

template <class Num>
void run(const Weight& w, const Num* x, long rows, const Num* residual, Num* y, long threads) {
  thread_local Scratch<int8_t> planes;
  thread_local Scratch<float> steps;
  thread_local Scratch<int32_t> surplus;
  const long width = w.groups * GROUP;
  const Packed all{planes.take(rows * width * 2), steps.take(rows * w.groups),
                   surplus.take(rows * w.groups), int(rows)};
  const auto block = [&](long first) {
    return Packed{all.planes + first * width * 2, all.steps + first * w.groups,
                  all.surplus + first * w.groups, int(std::min<long>(BLOCK, rows - first))};
  };
  const auto pack = [&](long index) {
    const Packed to = block(index * BLOCK);
    for (long r = 0; r < to.rows; r++) pack_row(w, x + (index * BLOCK + r) * w.inputs, r, to);
  };
  const auto multiply_tile = [&](long tile) {
    alignas(64) float out[BLOCK * TILE];
    for (long first = 0; first < rows; first += BLOCK) {
      const Packed from = block(first);
      multiply_rows(w, from, tile, out);
      for (long r = 0; r < from.rows; r++) {
        finish(w, out + r * TILE, first + r, tile, residual, y);
      }
    }
  };
  if (rows * w.outputs * width < LEAST_PRODUCTS) threads = 1;
  parallel_for((rows + BLOCK - 1) / BLOCK, threads, pack);
  parallel_for(w.tiles(), threads, multiply_tile);
}

template <class Num>
void run_all(const Weight& w, const void* x, long rows, const void* residual, void* y,
             long threads) {
  for (long first = 0; first < rows; first += CHUNK) {
    const long place = first * w.outputs;
    run(w, static_cast<const Num*>(x) + first * w.inputs, std::min(CHUNK, rows - first),
        residual ? static_cast<const Num*>(residual) + place : nullptr,
        static_cast<Num*>(y) + place, threads);
  }
}

}  // namespace
}  // namespace native

// x [rows][inputs], residual (or null) and y [rows][outputs]: all bfloat16, or all float32.
extern "C" void int8_linear(const void* weight, const void* x, int64_t rows, const void* residual,
                            void* y, int is_bf16, int threads) {
  const auto& w = *static_cast<const native::Weight*>(weight);
  if (is_bf16) {
    native::run_all<native::bf16>(w, x, rows, residual, y, threads);
  } else {
    native::run_all<float>(w, x, rows, residual, y, threads);
  }
}
