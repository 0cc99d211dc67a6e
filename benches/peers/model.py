"""Makes the models that all sides run: random weights, once as a Hugging Face directory and once as GGUF."""

import pathlib
import shutil

import gguf
import numpy
import torch
import transformers

SHAPES = {
    # 6.8 million weights.
    "s": dict(hidden_size=256, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=8,
              intermediate_size=688, vocab_size=4096, tie_word_embeddings=False),
    # SmolLM-135M's.
    "m": dict(hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
              intermediate_size=1536, vocab_size=49152, tie_word_embeddings=True),
}
KINDS = {"f32": gguf.GGMLQuantizationType.F32, "bf16": gguf.GGMLQuantizationType.BF16, "int8": gguf.GGMLQuantizationType.Q8_0}


def directory(place: pathlib.Path, shape: str, dtype: str, tokenizer: pathlib.Path) -> pathlib.Path:
    """The model in Hugging Face's layout, in files of float32. For bfloat16 its weights are exact in that, so that all sides hold the
    same ones; for float32 they are not, so that none can be kept in less; eight bits
    each side makes of these itself."""
    made = place / f"{shape}-{dtype}"
    if not (made / "model.safetensors").exists():
        torch.manual_seed(0)
        config = transformers.LlamaConfig(**SHAPES[shape], max_position_embeddings=2048)
        model = transformers.LlamaForCausalLM(config)
        if dtype == "bf16":
            model = model.to(torch.bfloat16).to(torch.float32)
        model.save_pretrained(made)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tokenizer / name, made / name)
    return made


def gguf_file(place: pathlib.Path, shape: str, dtype: str) -> pathlib.Path:
    """The same weights for llama.cpp, whose rotary embedding pairs neighbours where Hugging Face's pairs halves."""
    made = place / f"{shape}-{dtype}.gguf"
    if made.exists():
        return made
    model = transformers.LlamaForCausalLM.from_pretrained(place / f"{shape}-{dtype}", dtype=torch.float32)
    config = model.config
    writer = gguf.GGUFWriter(made.with_suffix(".part"), "llama")
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")

    def neighbours(weight, count):
        return weight.reshape(count, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)

    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    outside = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
               "lm_head.weight": "output.weight"}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        data = tensor.numpy()
        if name in outside:
            target = outside[name]
        else:
            _, _, layer, module = name.removesuffix(".weight").split(".", 3)
            target = f"blk.{layer}.{names[module]}.weight"
            count = {"self_attn.q_proj": heads, "self_attn.k_proj": kv_heads}.get(module)
            data = neighbours(data, count) if count else data
        kind = KINDS[dtype] if data.ndim == 2 else KINDS["f32"]
        writer.add_tensor(target, gguf.quants.quantize(numpy.ascontiguousarray(data), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    made.with_suffix(".part").rename(made)
    return made
