// The operations that are called by name, from Python and from stack.cpp.
#pragma once

#include "bf16_products.h"
#include "layout.h"

#define NATIVE_OPERATIONS(SUFFIX, NUM)                                                            \
  void rms_norm_##SUFFIX(NUM* out, const NUM* x, int64_t x_row, const NUM* weight, int64_t rows,  \
                         int64_t width, float eps, int64_t threads);                              \
  void silu_mul_##SUFFIX(NUM* out, const NUM* gate_up, int64_t row_stride, int64_t rows,          \
                         int64_t width, int64_t threads);                                         \
  void rotate_and_store_##SUFFIX(NUM* qkv, int64_t qkv_row, int64_t tokens, int64_t heads,        \
                                 const native::Cache* cache, const NUM* cos, const NUM* sin,      \
                                 const int64_t* rows, int64_t threads);                           \
  void attend_##SUFFIX(NUM* out, const NUM* q, int64_t q_row, int64_t q_head, int64_t heads,      \
                       const native::Cache* cache, const native::Step* step, float scale,         \
                       int64_t threads);

extern "C" {
NATIVE_OPERATIONS(f32, float)
NATIVE_OPERATIONS(bf16, native::bf16)

// x [rows][inputs], residual (or null) and y [rows][outputs]; y may be the residual.
void bf16_linear(const native::Bf16Weight* weight, const native::bf16* x, int64_t rows,
                 const native::bf16* residual, native::bf16* y, int64_t threads);

// The same of an Int8Weight; all bfloat16, or all float32.
void int8_linear(const void* weight, const void* x, int64_t rows, const void* residual, void* y,
                 int is_bf16, int threads);
}
