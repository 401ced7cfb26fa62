"""The strings that tokenizers are compared on: what people type, and what breaks tokenizers."""

import random

PROMPTS = """a photo of a woman
a hand
Two people's hands, 1990s!!
portrait of a smiling woman, both hands around a warm cup, soft golden light, sharp eyes
unclear hands, bad face, poor quality
A PHOTO OF A MAN
a photo of a cat, best quality, 8K
masterpiece, (best quality:1.2), 1girl, solo, looking at viewer
oil painting of an old man with a white beard
three children running on the beach, sunset, 35mm, f/1.8
close-up of a hand holding a pencil
hands, five fingers, detailed skin
a man and a woman shaking hands
the face of a child; studio light
an extremely detailed portrait, 4k, 8k, uhd, hdr
cinematic still of a baker kneading dough -- soft light
"a quoted prompt"
'a single-quoted prompt'
a prompt with a trailing comma,
a prompt with a full stop.
what is this?
wow!!!
hello world
mother & father
50% off
$100 bill
#hashtag @someone
e=mc^2
a/b/c\\d
C++ and C#
x*y+z=w
[brackets] {braces} (parentheses) <angles>
((nested)) [[very]] {{deep}}
(red:1.3) [blue] \\(literal\\)
http://example.com/path?query=1&other=two#frag
name@example.com
snake_case_name and __dunder__
CamelCaseName
kebab-case-name
one...two…three
ten-year-old's
rock'n'roll
a|b||c
~tilde~ `backtick`
50mm/85mm
3.14159
1,000,000
007
10 9 8 7 6 5 4 3 2 1 0
2024-12-31T23:59:59Z
v1.5
20th century
1st 2nd 3rd 4th
a1b2c3
h4nds
++--++
<tag>
&amp; &lt;
semi;colon:colon
tab-separated values""".split("\n")

CONTRACTIONS = """it's
IT'S
don't
we're
I've
I'm
we'll
you'd
they'd've
it’s
don’t
'tis
'twas
rock 'n' roll
the girls' hands
's
't
're
've
'm
'll
'd
'S
'LL
's's
''s
a's's
'sun
's un
'mother
'data
'rest
'very
'lly
it 's
it' s
o'clock
y'all'd've""".split("\n")

UNICODE = """café
cafe\u0301
naïve
nai\u0308ve
Ångström
A\u030angstro\u0308m
\u212bngstr\u00f6m
résumé
re\u0301sume\u0301
Zürich
straße
STRASSE
ẞ
STRAẞE
ß
İstanbul
ISTANBUL
istanbul
ıstanbul
i\u0307
I\u0307
ΣΊΣΥΦΟΣ
ΟΔΥΣΣΕΥΣ
Σ
ΑΣ
ΑΣ.
σς
ǅ ǆ Ǆ
ﬁne ﬂow
ﬀ
½ cup
x² + y³
10⁻⁹
①②③
Ⅷ Ⅳ
٣٤٥
१२३
৪৫
四五六
㈠
Ⓐ
ŉ
ǰ
ΐ
և
ﬗ
ſ
K
Ω Ω
Å Å
µ μ
ª º
ñ
n\u0303
Việt Nam
Vie\u0323\u0302t
e\u0302\u0323
e\u0323\u0302
q\u0307\u0323
q\u0323\u0307
a\u0315\u0300\u05ae\u0062
Ａｂｃ　１２３
ｶﾞ
か\u3099
が
한국어
\u1112\u1161\u11ab\u1100\u116e\u11a8
각
\u1100\u1161\u11a8
中文提示
日本語のプロンプト
女性の手
东京 2020
繁體中文
русский текст
ПОРТРЕТ ЖЕНЩИНЫ
рука
йога
и\u0306ога
ελληνικά
άνθρωπος
עברית
שלום
שָׁלוֹם
العربية
وجه امرأة
مَرْحَبًا
فارسی
हिन्दी
नमस्ते
क्षि
ไทย
ภาษาไทย
தமிழ்
తెలుగు
ქართული
ᲥᲐᲠᲗᲣᲚᲘ
հայերեն
አማርኛ
ᏣᎳᎩ
ꮳꮃꭹ
𐐀𐐁 𐐨𐐩
𝔘𝔫𝔦𝔠𝔬𝔡𝔢
𝐛𝐨𝐥𝐝
ｆｕｌｌ
ﷺ
\u0958
\u2126
\u1e9b\u0323
\u0344
\u0374
\u037e
\u0387
\u2000\u2001
\u2329x\u232a
\uf900
\U0002f800
\ufb1d
\u0f43
\u09cb
\u09c7\u09be
\u1026
\U0001d15e
\U000110ab
\ua7b1
\u10d0\u1c90
\u0130\u0049\u0069\u0131
ŠŽČ
Łódź
œuvre ŒUVRE
þing ÞING
ĸ
ǋ
Ⱥ ⱥ
Ꟁ
𞤀𞤢
ʰʷ
ﾞ
々
〇
ー
々々々""".split("\n")

EMOJI = """😀
😀😀
a 😀 b
smile😀smile
👍🏽
👩‍🎨
👨‍👩‍👧‍👦
🏳️‍🌈
🇫🇷
🇩🇪🇯🇵
1️⃣
#️⃣
❤️
❤
✋ hand
👋🏿 wave
🫱🏻‍🫲🏿
☺
☺️
✨best quality✨
♥♦♣♠
→ ← ↑ ↓
★☆
©®™
€£¥₹
°C
½¼¾
±×÷
≤≥≠≈
∑∏∫
“quotes” ‘single’
«guillemets»
— en – em ―
… ‥
• bullet
§ 1
¿qué?
¡hola!
„deutsch“
、。「」
！？
‽
⁂
🤚🏻🤚🏼🤚🏽
🧑‍🚀 in space, 4k
\U0001fae8
\U0001f9d1\u200d\U0001f91d\u200d\U0001f9d1""".split("\n")

# White space by what Unicode, Python, and regular expressions call so, and what only looks it.
SPACES = [
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    " a",
    "a ",
    "  a  b  ",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "a\vb",
    "a\fb",
    "a\u0085b",
    "a\u00a0b",
    "\u00a0a\u00a0",
    "a\u1680b",
    "a\u180eb",
    "a\u2000b",
    "a\u2003b",
    "a\u2009b",
    "a\u200ab",
    "a\u200bb",
    "a\u200cb",
    "a\u200db",
    "a\u2028b",
    "a\u2029b",
    "a\u202fb",
    "a\u205fb",
    "a\u2060b",
    "a\u3000b",
    "\u3000手\u3000",
    "a\ufeffb",
    "\ufeffa",
    "a\u00adb",
    "a\u200e\u200fb",
    "a\u202eb\u202c",
    "a \u0301 b",
    "\u0301",
    "\u0301\u0302",
    "a\u0001b",
    "a\u0007\u0008b",
    "\u001b[31mred",
    "a\u001cb",
    "a\u001db",
    "a\u001eb",
    "a\u001fb",
    "a\u007fb",
    "a\u009fb",
    "a\ufffdb",
    "a\ufffeb",
    "\ue000",
    "\U000f0000",
    "\U0010ffff",
    "a \u00a0 \u3000 b",
]

SPECIALS = [
    "<|startoftext|>",
    "<|endoftext|>",
    "a <|endoftext|> b",
    "a<|endoftext|>b",
    "<|startoftext|>a photo<|endoftext|>",
    "<|endoftext|><|endoftext|>",
    "<|ENDOFTEXT|>",
    "<|EndOfText|> a",
    "<|startoftext|",
    "|endoftext|>",
    "< |endoftext| >",
    "<|endoftext|>'s",
    " <|endoftext|> ",
    "a  <|endoftext|>  b",
    "<|pad|>",
    "<|im_start|>",
    "</w>",
    "hand</w>",
    "<w>",
    "[UNK] [CLS] <s> </s>",
    "BREAK",
    "BREAKFAST AND BREAK",
    "a AND b",
]

ODD = [
    "",
    "!",
    "\"",
    "'",
    "_",
    "__",
    "a_b",
    "_a_",
    "-",
    "--",
    "a-b",
    "a--b",
    ".",
    "..",
    "...",
    ",,,,",
    "a,b,c",
    "a , b",
    "(((((((((",
    "(a)(b)",
    "a(b",
    "\\",
    "\\\\",
    "\\n",
    "/",
    "a" * 30,
    "ab" * 40,
    "A" * 77,
    "hand" * 12,
    "supercalifragilisticexpialidocious",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "0" * 20,
    "9876543210",
    "a1" * 20,
    "!?" * 30,
    "é" * 20,
    "手" * 40,
    "😀" * 20,
    "a " * 74,
    "a " * 75,
    "a " * 76,
    "a " * 77,
    "a " * 78,
    "hands, " * 60,
    "the light on her face, " * 20,
    "x" * 400,
    " ".join(str(i) for i in range(100)),
]


def random_strings(count):
    """Random mixtures of pieces, the same on every machine (random.Random is specified)."""
    source = random.Random(20240607)
    pieces = [
        *"a photo of the woman's HANDS , . ! ' 1 7 _ - ( )".split(" "),
        *"é ß İ Σ 手 😀 \u0301 \u200d".split(" "),
        " ",
        "  ",
        "'s",
        "'LL",
        "\t",
        "\u00a0",
        "\u3000",
        "ﬁ",
        "각",
        "<|endoftext|>",
    ]
    return ["".join(source.choices(pieces, k=source.randint(2, 14))) for _ in range(count)]


def strings():
    """All of them, each once."""
    groups = (PROMPTS, CONTRACTIONS, UNICODE, EMOJI, SPACES, SPECIALS, ODD, random_strings(48))
    unescaped = [text for group in groups for text in group]
    return list(dict.fromkeys(unescaped))
