// What a layer does between its products: norm, gated activation, rotary embedding.

#include <algorithm>
#include <cmath>

#include "layout.h"
#include "operations.h"
#include "parallel.h"

namespace native {
namespace {

constexpr long TASK_NUMBERS = 16384;  // of one task: about a microsecond's work (chosen)

// Calls body(first, last) over ranges of rows of `width` numbers.
template <class Body>
void over_rows(long rows, long width, long threads, Body body) {
  const long step = std::max(1L, TASK_NUMBERS / width);
  const auto run = [&](long task) { body(task * step, std::min(rows, (task + 1) * step)); };
  parallel_for((rows + step - 1) / step, threads, run);
}

template <class Num>
void norm_row(Num* out, const Num* x, const Num* weight, long width, float eps) {
  f32x16 squares = {};
  long i = 0;
  for (; i + LANES <= width; i += LANES) {
    const f32x16 v = load(x + i);
    squares += v * v;
  }
  float total = sum(squares);
  for (long j = i; j < width; j++) total += to_float(x[j]) * to_float(x[j]);
  const float factor = 1.0f / std::sqrt(total / float(width) + eps);
  for (i = 0; i + LANES <= width; i += LANES)
    store(out + i, load(x + i) * factor * load(weight + i));
  for (; i < width; i++) put(out + i, to_float(x[i]) * factor * to_float(weight[i]));
}

template <class Num>
void rms_norm(Num* out, const Num* x, long x_row, const Num* weight, long rows, long width,
              float eps, long threads) {
  over_rows(rows, width, threads, [=](long first, long last) {
    for (long row = first; row < last; row++)
      norm_row(out + row * width, x + row * x_row, weight, width, eps);
  });
}

NATIVE_INLINE f32x16 gated(f32x16 gate, f32x16 up) {
  return gate / (exponential(-gate) + 1.0f) * up;
}

template <class Num>
void gate_row(Num* out, const Num* gate, long width) {
  const Num* up = gate + width;
  long i = 0;
  for (; i + LANES <= width; i += LANES) store(out + i, gated(load(gate + i), load(up + i)));
  for (; i < width; i++)
    put(out + i, gated(splat(to_float(gate[i])), splat(to_float(up[i])))[0]);
}

template <class Num>
void silu_mul(Num* out, const Num* gate_up, long row_stride, long rows, long width, long threads) {
  over_rows(rows, 2 * width, threads, [=](long first, long last) {
    for (long row = first; row < last; row++)
      gate_row(out + row * width, gate_up + row * row_stride, width);
  });
}

// Halves are paired: RoFormer (arXiv 2104.09864) section 3.4.2. The sine's first half is signed.
template <class Num>
void rotate(Num* to, const Num* x, const Num* cos, const Num* sin, long dim) {
  const long half = dim / 2;
  long i = 0;
  for (; i + LANES <= half; i += LANES) {
    const f32x16 a = load(x + i), b = load(x + half + i);
    store(to + i, a * load(cos + i) + b * load(sin + i));
    store(to + half + i, b * load(cos + half + i) + a * load(sin + half + i));
  }
  for (; i < half; i++) {
    const float a = to_float(x[i]), b = to_float(x[half + i]);
    put(to + i, a * to_float(cos[i]) + b * to_float(sin[i]));
    put(to + half + i, b * to_float(cos[half + i]) + a * to_float(sin[half + i]));
  }
}

template <class Num>
void store_signs(const Num* key, long dim, uint8_t* to) {
  long i = 0;
  for (; i + LANES <= dim; i += LANES, to += 2) {
    const uint32_t bits = sign_bits(key + i);
    to[0] = uint8_t(bits);
    to[1] = uint8_t(bits >> 8);
  }
  for (; i < dim; i += 8, to++) {
    *to = 0;
    for (long bit = 0; bit < std::min(8L, dim - i); bit++)
      *to = uint8_t(*to | is_negative(key[i + bit]) << bit);
  }
}

template <class Num>
void rotate_and_store(Num* qkv, long qkv_row, long tokens, long heads, const Cache& cache,
                      const Num* cos, const Num* sin, const int64_t* rows, long threads) {
  const long dim = cache.key_dim, kv_heads = cache.kv_heads;
  const auto one = [=, &cache](long token) {
    Num* x = qkv + token * qkv_row;
    const Num *c = cos + token * dim, *s = sin + token * dim;
    for (long head = 0; head < heads; head++, x += dim) rotate(x, x, c, s, dim);
    for (long head = 0; head < kv_heads; head++, x += dim) {
      Num* key =
          static_cast<Num*>(cache.keys) + rows[token] * cache.key_row + head * cache.key_head;
      rotate(key, x, c, s, dim);
      store_signs(key, dim, cache.signs + rows[token] * cache.sign_row + head * cache.sign_head);
    }
    for (long head = 0; head < kv_heads; head++, x += dim)
      std::copy_n(x, dim, static_cast<Num*>(cache.values) + rows[token] * cache.value_row +
                              head * cache.value_head);
  };
  over_rows(tokens, (heads + 2 * kv_heads) * dim, threads, [&](long first, long last) {
    for (long token = first; token < last; token++) one(token);
  });
}

}  // namespace
}  // namespace native

#define NATIVE_ELEMENTWISE(SUFFIX, NUM)                                                          \
  extern "C" void rms_norm_##SUFFIX(NUM* out, const NUM* x, int64_t x_row, const NUM* weight,    \
                                    int64_t rows, int64_t width, float eps, int64_t threads) {   \
    native::rms_norm(out, x, x_row, weight, rows, width, eps, threads);                          \
  }                                                                                              \
  extern "C" void silu_mul_##SUFFIX(NUM* out, const NUM* gate_up, int64_t row_stride,            \
                                    int64_t rows, int64_t width, int64_t threads) {              \
    native::silu_mul(out, gate_up, row_stride, rows, width, threads);                            \
  }                                                                                              \
  extern "C" void rotate_and_store_##SUFFIX(                                                     \
      NUM* qkv, int64_t qkv_row, int64_t tokens, int64_t heads, const native::Cache* cache,      \
      const NUM* cos, const NUM* sin, const int64_t* rows, int64_t threads) {                    \
    native::rotate_and_store(qkv, qkv_row, tokens, heads, *cache, cos, sin, rows, threads);      \
  }

NATIVE_ELEMENTWISE(f32, float)
NATIVE_ELEMENTWISE(bf16, native::bf16)
