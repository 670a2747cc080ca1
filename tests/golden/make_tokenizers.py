#!/usr/bin/env python3
"""Writes tests/golden/tokenizers/: three small tokenizers trained by the `tokenizers` package, and the ids it gives.

usage: python3 -m venv V; V/bin/pip install tokenizers; V/bin/python tests/golden/make_tokenizers.py

ids.json holds texts (40 scripts, emoji, marks, controls, right-to-left, long words) and, for each tokenizer, the ids of
every text alone, and of neighbours as pairs cut to `max_length`, with the number of ids of token type 0.
"""
import json
import pathlib
import random

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

OUT = pathlib.Path(__file__).parent / "tokenizers"
MAX_LENGTH = 11
SCRIPTS = {  # one word or two of each, by hand
    "Latin": "naïve Übung façade ČESKÝ Ǆungla İstanbul ﬁn", "Greek": "Ελληνικά ΣΟΦΟΣ ᾧ", "Cyrillic": "Русский Ёлка йод",
    "Armenian": "Հայերեն", "Hebrew": "עִבְרִית שלום", "Arabic": "العَرَبِيَّة ١٢٣", "Syriac": "ܣܘܪܝܝܐ", "Thaana": "ދިވެހި",
    "NKo": "ߒߞߏ", "Devanagari": "हिन्दी क़लम १२", "Bengali": "বাংলা", "Gurmukhi": "ਪੰਜਾਬੀ", "Gujarati": "ગુજરાતી",
    "Oriya": "ଓଡ଼ିଆ", "Tamil": "தமிழ்", "Telugu": "తెలుగు", "Kannada": "ಕನ್ನಡ", "Malayalam": "മലയാളം", "Sinhala": "සිංහල",
    "Thai": "ภาษาไทย", "Lao": "ລາວ", "Tibetan": "བོད་ཡིག", "Myanmar": "မြန်မာ", "Georgian": "ქართული Ⴀ", "Hangul": "한국어 힣",
    "Ethiopic": "አማርኛ፡ሰላም", "Cherokee": "ᏣᎳᎩ", "Canadian": "ᐃᓄᒃᑎᑐᑦ", "Ogham": "᚛ᚑᚌᚐᚋ᚜", "Runic": "ᚠᚢᚦᚨᚱᚲ", "Khmer": "ភាសាខ្មែរ",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ", "Hiragana": "ひらがな が が", "Katakana": "カタカナ ｶﾀｶﾅ", "Bopomofo": "ㄅㄆㄇ", "Han": "漢字かな交じり文𠀀豈",
    "Yi": "ꆈꌠꉙ", "Gothic": "𐌲𐌿𐍄", "Deseret": "𐐔𐐯𐑅", "Tifinagh": "ⵜⵉⴼⵉⵏⴰⵖ", "Glagolitic": "Ⰳⰾⰰ", "Coptic": "Ⲙⲉⲧ",
    "Vai": "ꕙꔤ", "Javanese": "ꦗꦮ", "Osage": "𐓏𐓘", "Adlam": "𞤀𞤣", "Garay": "𐵐𐵑", "Math": "𝔘𝓃𝕚 ℵ ½ Ⅷ ² ①",
}
HARD = [
    "", " ", "\n\n \t ", "a", "A B", "don't we'll I'm they've YOU'RE it's 'tis ''s '", "  two  spaces \n\n new line\tTab \r\n end  ",
    "👩‍👩‍👧‍👦 family 🏳️‍🌈 flag 🇩🇪🇯🇵 👍🏽 ❤️ ☃", "e\u0301 e\u0323\u0301 e\u0301\u0323 Z\u0351\u034d\u0362\u0345\u0316A", "\u0301leading mark",
    "\x00nul\x01 \x1b[0m \x7f\x85next\u00adsoft\u200bzero\ufeffbom\u2028line\u2029para", "no\u00a0break\u3000wide\u2009thin\u180emvs",
    "price: $9.99 (50% off!) a+b=c <tag> x^2 `code` ~ | \\ / _under_ #1 @me & co; -- … — «q» “q” 「か」", "\ufffd replaced \ufffd\ufffd",
    "MixedCASE camelCase SCREAMING_SNAKE kebab-case", "x" * 99, "x" * 100, "x" * 101, "é" * 100, "é" * 101, "ab" * 400, "1234567890" * 9,
    "=" * 200 + "\n" + "-" * 77, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "http://example.org/~user/?q=a%20b&c=d#frag",
    "[CLS] is [MASK] not [SEP]ial [UNK] [mask]", "<s>start</s> <mask>   <mask> <pad>end", "\u202eright to left\u202c \u0661\u0662 \u05d0",
    "\u1ab0\u1abf\u0898 late marks \u0345\u1ac0\u0316", "\U00011938 \U0001e08f \ua7cb \U00010d50", "\u2126 \u212b \uf900 \ufb01 \u01c5 \u1e9e \u0130 \u03a3\u03c2",
    "\ue000 private \U000f0000 \U0010fffd \u0378 unassigned \U0001f9ff", "tab\there 3.14 1,000 12:30 2026-11-23 v1.2.3-rc4",
]


def soup(rng, count):
    """Random runs of characters from random blocks: what nobody thinks of."""
    letters = "".join(SCRIPTS.values()) + "".join(HARD)
    for _ in range(count):
        yield "".join(rng.choice(letters) if rng.random() < 0.8 else rng.choice([" ", chr(rng.randrange(0x20, 0xD7FF)), "'s", "\u0301"])
                      for _ in range(rng.randrange(1, 40)))


rng = random.Random(1)
sentences = ["The quick brown fox jumps over the lazy dog and runs.", "Package: a library of tokenizers, written in C; tests included."]
texts = HARD + list(SCRIPTS.values()) + sentences + list(soup(rng, 60))
corpus = sentences * 20 + texts * 3
OUT.mkdir(exist_ok=True)
result = {"max_length": MAX_LENGTH, "texts": texts, "ids": {}, "pairs": {}}
for name in ("wordpiece_uncased", "wordpiece_cased", "bpe"):
    if name == "bpe":
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=700, special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
                                                          initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
        t.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
        t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    else:
        t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        t.normalizer = normalizers.BertNormalizer(lowercase=name.endswith("uncased"))
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        t.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=1200, show_progress=False,
                                                                special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
        t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                         special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    (OUT / f"{name}.json").write_text(json.dumps(json.loads(t.to_str()), ensure_ascii=True, separators=(",", ":")) + "\n")
    result["ids"][name] = [t.encode(text).ids for text in texts]
    t.enable_truncation(MAX_LENGTH, strategy="longest_first")
    pairs = [t.encode(a, b) for a, b in zip(texts, texts[1:])]
    result["pairs"][name] = [e.ids + [e.type_ids.count(0)] for e in pairs]
(OUT / "ids.json").write_text(json.dumps(result, ensure_ascii=True, separators=(",", ":")) + "\n")
print(len(texts), "texts")
