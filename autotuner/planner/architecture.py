"""A decoder's sizes: parameters by part, KV numbers per token and arithmetic. Knows no hardware.

Numbers are counts, not bytes. FLOPs are two for each multiply-add.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    What is cached of a token is one latent of `kv_rank` and one rotated key of `rope_dim`.
    """

    q_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int


@dataclass(frozen=True)
class Experts:
    """From `first_layer` on: `per_token` of `count` routed experts, and `shared` for every token.

    `corrected`: the router adds a bias for each expert (DeepSeek-V3).
    """

    first_layer: int
    count: int
    per_token: int
    shared: int
    width: int
    corrected: bool = False


@dataclass(frozen=True)
class Parameters:
    """How many numbers each part of a model has, over all layers."""

    embeddings: int
    attention: int
    dense_mlp: int
    routed_experts: int
    shared_experts: int
    router: int
    norms: int
    head: int  # 0 where it is the embeddings' matrix

    @property
    def total(self) -> int:
        return (
            self.embeddings
            + self.attention
            + self.dense_mlp
            + self.routed_experts
            + self.shared_experts
            + self.router
            + self.norms
            + self.head
        )

    @property
    def quantised(self) -> int:
        """Those that an 8- or 4-bit type is used for; embeddings, head, router, norms stay."""
        return self.attention + self.dense_mlp + self.routed_experts + self.shared_experts


@dataclass(frozen=True)
class Architecture:
    """A decoder. `context_tokens`: the longest request that it was made for."""

    name: str
    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    context_tokens: int
    tied: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    latent: Latent | None = None
    experts: Experts | None = None

    @property
    def parameters(self) -> Parameters:
        hidden, expert_layers = self.hidden_size, self._expert_layers
        embeddings = self.vocab_size * hidden
        mlp = 3 * hidden * self.intermediate_size
        mlp += (2 * self.intermediate_size + hidden) if self.mlp_bias else 0
        latent = self.latent
        own_norms = 0 if latent is None else (latent.q_rank or 0) + latent.kv_rank
        experts = self.experts or Experts(0, 0, 0, 0, 0)
        expert = 3 * hidden * experts.width
        choosing = experts.count * (hidden + (1 if experts.corrected else 0))
        return Parameters(
            embeddings=embeddings,
            attention=self.num_layers * self._attention_numbers(),
            dense_mlp=(self.num_layers - expert_layers) * mlp,
            routed_experts=expert_layers * experts.count * expert,
            shared_experts=expert_layers * experts.shared * expert,
            router=expert_layers * choosing,
            norms=self.num_layers * (2 * hidden + own_norms) + hidden,
            head=0 if self.tied else embeddings,
        )

    def _attention_numbers(self) -> int:
        hidden, heads, latent = self.hidden_size, self.num_heads, self.latent
        if latent is None:
            query, kv = heads * self.head_dim, self.num_kv_heads * self.head_dim
            biases = (query + 2 * kv if self.qkv_bias else 0) + (hidden if self.output_bias else 0)
            return 2 * hidden * query + 2 * hidden * kv + biases
        asked = heads * (latent.nope_dim + latent.rope_dim)
        rank = latent.q_rank
        query = hidden * asked if rank is None else hidden * rank + rank * asked
        down = hidden * (latent.kv_rank + latent.rope_dim)
        up = latent.kv_rank * heads * (latent.nope_dim + latent.value_dim)
        return query + down + up + heads * latent.value_dim * hidden

    @property
    def _expert_layers(self) -> int:
        return 0 if self.experts is None else self.num_layers - self.experts.first_layer

    @property
    def active_parameters(self) -> int:
        """Numbers that one decoded token is multiplied by: no embedding table, chosen experts."""
        p, experts = self.parameters, self.experts
        chosen = 0 if experts is None else p.routed_experts * experts.per_token // experts.count
        head = self.vocab_size * self.hidden_size
        return p.attention + p.dense_mlp + chosen + p.shared_experts + p.router + p.norms + head

    @property
    def kv_numbers_per_token(self) -> int:
        """Cached for each token: keys and values of every layer, or its latents."""
        if self.latent is not None:
            return self.num_layers * (self.latent.kv_rank + self.latent.rope_dim)
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim

    @property
    def decode_flops_per_token(self) -> int:
        """Of the matrices, for a token that is followed by another; attention comes on top."""
        return 2 * self.active_parameters

    @property
    def prompt_flops_per_token(self) -> int:
        """As for decoding without the head, which only a prompt's last token meets."""
        return 2 * (self.active_parameters - self.vocab_size * self.hidden_size)

    @property
    def prompt_flops_per_pair(self) -> int:
        """Of a prompt's token attending to one other, keys and values unpacked, all layers."""
        if self.latent is None:
            return 4 * self.num_layers * self.num_heads * self.head_dim
        widths = self.latent.nope_dim + self.latent.rope_dim + self.latent.value_dim
        return 2 * self.num_layers * self.num_heads * widths

    @property
    def decode_flops_per_pair(self) -> int:
        """Of a decoded token attending to one other: on the latent itself where there is one."""
        if self.latent is None:
            return self.prompt_flops_per_pair
        widths = 2 * self.latent.kv_rank + self.latent.rope_dim
        return 2 * self.num_layers * self.num_heads * widths

    def experts_read_share(self, tokens: float) -> float:
        """The share of routed experts that a step with so many tokens reads; even routing."""
        if self.experts is None:
            return 0.0
        missed = 1 - self.experts.per_token / self.experts.count
        return float(1 - missed ** max(tokens, 1.0))
