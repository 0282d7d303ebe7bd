// Linear layers over int8 weights, for rows of bfloat16 or float32 activations:
//
//   y[r][o] = sum over i of x[r][i] * factor[i] * q[o][i] * scale[o][i / GROUP]  (+ bias, residual)
//
// Within a row and group the activations become whole numbers of 16 bits over a step of their own,
// so that products and sums inside a group are exact. The step is 1/32639 of the group's greatest
// number: finer than bfloat16 is for that number. With VNNI they are held as high and low bytes, and
// a byte of weight is never widened. Weights are stored plus 128, because the processor's dot
// product wants one unsigned side.
#include <algorithm>
#include <cstdint>

#include "int8_products.h"
#include "operations.h"
#include "parallel.h"
#include "scratch.h"
#include "vectors.h"

namespace native {
namespace {

constexpr int BLOCK = 6;                  // rows in flight: their sums fill the vector registers
constexpr long CHUNK = 192;               // rows packed at a time: they stay in the L2 cache
constexpr float LEVELS = 32639;           // 127 * 256 + 127: the greatest of a high and a low byte
constexpr float LEAST = 1e-30f;           // a group below it counts as zero
constexpr long LEAST_PRODUCTS = 1 << 18;  // for a second thread to be worth its start
constexpr long STREAM_AHEAD = 4096;       // bytes: a page, where the processor's own reading stops

// One group of one row. A number that isn't finite makes the step, and so the row, not-a-number.
void pack_group(const float* x, long group, long row, const Int8Rows& to) {
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
    const long place = (group * QUADS + i * LANES / 4) * to.rows + row;
    put_quads(to.quads + place * 8, to.rows * 8, whole);
    sums += whole;
  }
  int32_t sum = 0;
  for (long i = 0; i < LANES; i++) sum += sums[i];
  to.steps[group * to.rows + row] = finite ? greatest / LEVELS : __builtin_nanf("");
  to.surplus[group * to.rows + row] = -128 * sum;
}

template <class Num>
void pack_row(const Int8Weight& w, const Num* x, long row, const Int8Rows& to) {
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

void multiply_rows(const Int8Weight& w, const Int8Rows& x, long tile, long ahead, float* out) {
  switch (x.rows) {
    case 1: return multiply<1>(w, x, tile, ahead, out);
    case 2: return multiply<2>(w, x, tile, ahead, out);
    case 3: return multiply<3>(w, x, tile, ahead, out);
    case 4: return multiply<4>(w, x, tile, ahead, out);
    case 5: return multiply<5>(w, x, tile, ahead, out);
    default: return multiply<BLOCK>(w, x, tile, ahead, out);
  }
}

// A row's part of a tile to its place, with bias and residual.
template <class Num>
void finish(const Int8Weight& w, float* out, long row, long tile, const Num* residual, Num* y) {
  const long first = tile * TILE;
  const long count = std::min<long>(TILE, w.outputs - first);
  const long place = row * w.outputs + first;
  if (w.bias) {
    for (long o = 0; o < TILE; o++) out[o] += w.bias[first + o];
  }
  if (count < TILE) {
    for (long o = 0; o < count; o++) {
      put(y + place + o, residual ? out[o] + to_float(residual[place + o]) : out[o]);
    }
    return;
  }
  for (long o = 0; o < TILE; o += LANES) {
    const f32x16 sum = load(out + o);
    store(y + place + o, residual ? sum + load(residual + place + o) : sum);
  }
}

template <class Num>
void run(const Int8Weight& w, const Num* x, long rows, const Num* residual, Num* y, long threads) {
  thread_local Scratch<int8_t> quads;
  thread_local Scratch<float> steps;
  thread_local Scratch<int32_t> surplus;
  const long width = w.groups * GROUP;
  const Int8Rows all{quads.take(rows * width * 2), steps.take(rows * w.groups),
                   surplus.take(rows * w.groups), int(rows)};
  if (rows * w.outputs * width < LEAST_PRODUCTS) threads = 1;
  const auto block = [&](long first) {
    return Int8Rows{all.quads + first * width * 2, all.steps + first * w.groups,
                  all.surplus + first * w.groups, int(std::min<long>(BLOCK, rows - first))};
  };
  const auto pack = [&](long index) {
    const Int8Rows to = block(index * BLOCK);
    for (long r = 0; r < to.rows; r++) pack_row(w, x + (index * BLOCK + r) * w.inputs, r, to);
  };
  const auto multiply_tile = [&](long tile) {
    alignas(64) float out[BLOCK * TILE];
    for (long first = 0; first < rows; first += BLOCK) {
      const Int8Rows from = block(first);
      const long ahead = first == BLOCK ? threads * width * TILE : STREAM_AHEAD;
      multiply_rows(w, from, tile, ahead, out);
      for (long r = 0; r < from.rows; r++) {
        finish(w, out + r * TILE, first + r, tile, residual, y);
      }
    }
  };
  parallel_for((rows + BLOCK - 1) / BLOCK, threads, pack);
  parallel_for(w.tiles(), threads, multiply_tile);
}

template <class Num>
void run_all(const Int8Weight& w, const void* x, long rows, const void* residual, void* y,
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

extern "C" void int8_linear(const void* weight, const void* x, int64_t rows, const void* residual,
                            void* y, int is_bf16, int threads) {
  const auto& w = *static_cast<const native::Int8Weight*>(weight);
  if (is_bf16) {
    native::run_all<native::bf16>(w, x, rows, residual, y, threads);
  } else {
    native::run_all<float>(w, x, rows, residual, y, threads);
  }
}
