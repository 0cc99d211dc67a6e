"""Turns a base model of the repository into GGUF, tokenizer and chat template and all: `to_gguf.py DIRECTORY FILE`."""

import json
import pathlib
import sys

import gguf
import numpy

MODULES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}


def weights(file):
    """Each tensor's name and values. Bfloat16 is the upper half of float32."""
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            assert entry["dtype"] == "BF16", name
            first, end = entry["data_offsets"]
            halves = numpy.frombuffer(data[start + first : start + end], numpy.uint16)
            yield name, (halves.astype(numpy.uint32) << 16).view(numpy.float32).reshape(entry["shape"])


def tensor(name, values, heads):
    """As llama.cpp has it: its rotary embedding pairs neighbours where Hugging Face's pairs halves."""
    name = name.removesuffix(".weight")
    if name in OUTSIDE:
        return OUTSIDE[name], values
    _, _, layer, module = name.split(".", 3)
    if module in heads:
        values = values.reshape(heads[module], 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
    return f"blk.{layer}.{MODULES[module]}", numpy.ascontiguousarray(values)


def bytes_of_letters():
    """GPT-2's letters for bytes, which byte-level tokens are written in."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}


def tokens(tokenizer):
    """The base models' tokenizer knows whole words, then bytes, and no merges. RWKV's, which takes the longest token, is the one of
    llama.cpp's that reads the same text the same way."""
    assert not tokenizer["model"]["merges"]
    letters, special = bytes_of_letters(), {it["content"] for it in tokenizer["added_tokens"]}
    for text, _ in sorted(tokenizer["model"]["vocab"].items(), key=lambda it: it[1]):
        if text in special:
            yield text, gguf.TokenType.CONTROL
        else:
            yield "".join(f"\\x{letters[letter]:02x}" for letter in text), gguf.TokenType.NORMAL


def main(directory, file):
    config, tokenizer, chat = (
        json.loads((directory / f"{name}.json").read_text()) for name in ("config", "tokenizer", "tokenizer_config")
    )
    heads = {"self_attn.q_proj": config["num_attention_heads"], "self_attn.k_proj": config["num_key_value_heads"]}
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    texts, kinds = zip(*tokens(tokenizer))
    writer.add_tokenizer_model("rwkv")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat["chat_template"])
    for name, values in weights(directory / "model.safetensors"):
        name, values = tensor(name, values, heads)
        writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
