// Linear layers over bfloat16 weights, for rows of bfloat16 activations:
//
//   y[r][o] = sum over i of x[r][i] * w[o][i]  (+ bias, residual)
//
// A row's products are summed in the order of the inputs, whatever the other rows: its result never
// depends on its company.
#include <algorithm>
#include <cstdint>

#include "bf16_products.h"
#include "operations.h"
#include "parallel.h"
#include "scratch.h"

namespace native {
namespace {

constexpr long STRETCH = 96;              // words of depth at a time: 24 KiB of weights stay in L1
constexpr long ROWS_AT_ONCE = 192;        // they stay in the L2 cache while the weights go by
constexpr long LEAST_PRODUCTS = 1 << 18;  // for a second thread to be worth its start

struct Piece {
  const bf16* x;
  long x_row;
  const uint32_t* weights;
  long depth;
  const char* ahead;  // weights that are read next
  float* out;
  bool add;
};

template <long ROWS>
void multiply_block(const Piece& p, long lines) {
  const auto run = [&](auto multiply) {
    multiply(p.x, p.x_row, p.weights, p.depth, p.ahead, p.out, p.add);
  };
  switch (lines) {
    case 0: return run(multiply_pairs<ROWS, 0>);
    case 1: return run(multiply_pairs<ROWS, 1>);
    case 2: return run(multiply_pairs<ROWS, 2>);
    default: return run(multiply_pairs<ROWS, 4>);
  }
}

void multiply_rows(const Piece& p, long rows, long lines) {
  switch (rows) {
    case 1: return multiply_block<1>(p, lines);
    case 2: return multiply_block<2>(p, lines);
    case 3: return multiply_block<3>(p, lines);
    case 4: return multiply_block<4>(p, lines);
    case 5: return multiply_block<5>(p, lines);
    default: return multiply_block<BF16_BLOCK>(p, lines);
  }
}

// One stretch of a tile's weights with all rows, in even blocks. The first blocks have the next
// stretch fetched from memory, so that this goes on while they compute.
void multiply_stretch(Piece p, long rows) {
  const long blocks = (rows + BF16_BLOCK - 1) / BF16_BLOCK;
  const long fetchers = blocks >= 4 ? 4 : blocks >= 2 ? 2 : 1;
  const long lines = BF16_VECTORS / fetchers;
  for (long block = 0; block < blocks; block++) {
    const long first = rows * block / blocks, last = rows * (block + 1) / blocks;
    Piece part = p;
    part.x += first * p.x_row;
    part.out += first * BF16_TILE;
    part.ahead += block * lines * p.depth * 64;
    multiply_rows(part, last - first, block < fetchers ? lines : 0);
  }
}

void multiply_tile(const Bf16Weight& w, const bf16* x, long x_row, long rows, long tile,
                   long next_tile, float* out) {
  const long depth = w.depth(), stretches = (depth + STRETCH - 1) / STRETCH;
  const uint32_t* weights = w.tile(tile);
  for (long stretch = 0; stretch < stretches; stretch++) {
    const long first = depth * stretch / stretches, last = depth * (stretch + 1) / stretches;
    const uint32_t* next = last < depth ? weights + last * BF16_TILE : w.tile(next_tile);
    multiply_stretch({x + 2 * first, x_row, weights + first * BF16_TILE, last - first,
                      reinterpret_cast<const char*>(next), out, stretch > 0},
                     rows);
  }
}

// A row's part of a tile to its place, with bias and residual.
void finish(const Bf16Weight& w, float* out, long row, long tile, const bf16* residual, bf16* y) {
  const long first = tile * BF16_TILE;
  const long count = std::min(BF16_TILE, w.outputs - first);
  const long place = row * w.outputs + first;
  if (w.bias) {
    for (long o = 0; o < BF16_TILE; o++) out[o] += w.bias[first + o];
  }
  long o = 0;
  for (; o + LANES <= count; o += LANES) {
    const f32x16 sum = load(out + o);
    store(y + place + o, residual ? sum + load(residual + place + o) : sum);
  }
  for (; o < count; o++)
    put(y + place + o, residual ? out[o] + to_float(residual[place + o]) : out[o]);
}

// Rows of an odd number of inputs, each with a zero more: only whole words are read.
const bf16* padded(const bf16* x, long rows, long inputs) {
  thread_local Scratch<bf16> memory;
  bf16* to = memory.take(rows * (inputs + 1));
  for (long r = 0; r < rows; r++) {
    std::copy_n(x + r * inputs, inputs, to + r * (inputs + 1));
    to[r * (inputs + 1) + inputs] = bf16{0};
  }
  return to;
}

void run(const Bf16Weight& w, const bf16* x, long rows, const bf16* residual, bf16* y,
         long threads) {
  const long x_row = 2 * w.depth();
  if (x_row != w.inputs) x = padded(x, rows, w.inputs);
  if (rows * w.outputs * w.inputs < LEAST_PRODUCTS) threads = 1;
  const auto one = [&](long tile) {
    thread_local Scratch<float> memory;
    float* out = memory.take(rows * BF16_TILE);
    multiply_tile(w, x, x_row, rows, tile, tile + threads, out);
    for (long r = 0; r < rows; r++) finish(w, out + r * BF16_TILE, r, tile, residual, y);
  };
  parallel_for(w.tiles(), threads, one);
}

}  // namespace
}  // namespace native

extern "C" void bf16_linear(const native::Bf16Weight* weight, const native::bf16* x, int64_t rows,
                            const native::bf16* residual, native::bf16* y, int64_t threads) {
  for (long first = 0; first < rows; first += native::ROWS_AT_ONCE) {
    const long count = std::min(native::ROWS_AT_ONCE, rows - first);
    const long place = first * weight->outputs;
    native::run(*weight, x + first * weight->inputs, count, residual ? residual + place : nullptr,
                y + place, threads);
  }
}
