"""The demo models' tokenizer: a word is one token, and anything else still has a spelling.

A Unigram vocabulary is written down rather than learned: every word the domain uses, then single characters, then the
256 bytes. The best segmentation takes whole words where it knows them, so the answers a student has to learn are one
token long, and an unknown word costs one token a character instead of becoming `<unk>`.
"""

from __future__ import annotations

import string
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

PAD, END, SYSTEM, USER, ASSISTANT = "<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|> ' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

_SPACE = "▁"


def words(text: str) -> list[str]:
    """The words of a text, with sentence punctuation cut off; JSON's quotes and colons stay with their word."""
    return [w.rstrip("?.,") if w[0].isalnum() else w for w in text.split()]


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that knows every word of `texts` as one token."""
    vocabulary = sorted({_SPACE + w for text in texts for w in words(text)})
    characters = sorted({_SPACE, *string.printable.strip()} - set(vocabulary))
    pieces = [(PAD, 0.0), ("<unk>", -100.0)]
    pieces += [(word, -1.0) for word in vocabulary]
    pieces += [(_SPACE + "\n", -1.0)]
    pieces += [(c, -10.0) for c in characters]
    pieces += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=1, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace("\n", " \n ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme="never")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(replacement=_SPACE, prepend_scheme="never")]
    )
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in (PAD, END, SYSTEM, USER, ASSISTANT)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped
