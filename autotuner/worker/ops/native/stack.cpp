// The layers of a Llama stack in one call: the same operations as one by one, in the same order.

#include <algorithm>

#include "operations.h"
#include "scratch.h"

namespace native {

// Mirrored field by field in fused.py, as the structures after it.
struct Linear {
  const void* weight;  // Bf16Weight, or Int8Weight
  int64_t is_int8;
  int64_t outputs;
};

struct LlamaLayer {
  const bf16* attention_norm;
  const bf16* mlp_norm;
  Linear qkv, output, gate_up, down;
  int64_t heads;
  float attention_eps, mlp_eps, scale;
};

// Tokens of one step: cos, sin [tokens][key_dim], the cache's row of each, and its sequences.
struct Tokens {
  const bf16* cos;
  const bf16* sin;
  const int64_t* cache_rows;
  const Step* step;
  int64_t count, width;
};

namespace {

constexpr long MLP_ROWS = 192;  // at a time: what lies between its products stays in the caches

void apply(const Linear& linear, const bf16* x, long rows, const bf16* residual, bf16* y,
           long threads) {
  if (linear.is_int8)
    int8_linear(linear.weight, x, rows, residual, y, 1, int(threads));
  else
    bf16_linear(static_cast<const Bf16Weight*>(linear.weight), x, rows, residual, y, threads);
}

struct Buffers {
  Scratch<bf16> normed, qkv, attended, gate_up, gated;
};

// hidden + output(attention(norm(hidden))) to `out`, which may be hidden.
void attention(const LlamaLayer& layer, const Cache& cache, const Tokens& tokens,
               const bf16* hidden, bf16* out, long threads, Buffers& memory) {
  const long rows = tokens.count, width = tokens.width, dim = cache.key_dim;
  bf16* normed = memory.normed.take(rows * width);
  bf16* qkv = memory.qkv.take(rows * layer.qkv.outputs);
  bf16* attended = memory.attended.take(rows * layer.heads * cache.value_dim);
  rms_norm_bf16(normed, hidden, width, layer.attention_norm, rows, width, layer.attention_eps,
                threads);
  apply(layer.qkv, normed, rows, nullptr, qkv, threads);
  rotate_and_store_bf16(qkv, layer.qkv.outputs, rows, layer.heads, &cache, tokens.cos, tokens.sin,
                        tokens.cache_rows, threads);
  attend_bf16(attended, qkv, layer.qkv.outputs, dim, layer.heads, &cache, tokens.step, layer.scale,
              threads);
  apply(layer.output, attended, rows, hidden, out, threads);
}

// Adds down(silu(gate(norm(hidden))) * up(norm(hidden))) to hidden.
void mlp(const LlamaLayer& layer, bf16* hidden, long rows, long width, long threads,
         Buffers& memory) {
  const long inner = layer.gate_up.outputs / 2;
  bf16* normed = memory.normed.take(rows * width);
  bf16* gate_up = memory.gate_up.take(rows * 2 * inner);
  bf16* gated = memory.gated.take(rows * inner);
  rms_norm_bf16(normed, hidden, width, layer.mlp_norm, rows, width, layer.mlp_eps, threads);
  apply(layer.gate_up, normed, rows, nullptr, gate_up, threads);
  silu_mul_bf16(gated, gate_up, 2 * inner, rows, inner, threads);
  apply(layer.down, gated, rows, hidden, hidden, threads);
}

}  // namespace
}  // namespace native

// Takes hidden [tokens][width] through the layers to `out`; K and V go to each layer's cache.
extern "C" void llama_stack_bf16(const native::LlamaLayer* layers,
                                 const native::Cache* const* caches, int64_t count,
                                 const native::Tokens* tokens, const native::bf16* hidden,
                                 native::bf16* out, int64_t threads) {
  static thread_local native::Buffers memory;
  const long width = tokens->width;
  for (long i = 0; i < count; i++, hidden = out) {
    native::attention(layers[i], *caches[i], *tokens, hidden, out, threads, memory);
    for (long first = 0; first < tokens->count; first += native::MLP_ROWS) {
      const long rows = std::min(native::MLP_ROWS, tokens->count - first);
      native::mlp(layers[i], out + first * width, rows, width, threads, memory);
    }
  }
}
