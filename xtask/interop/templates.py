"""Chat templates and tokenizers: what Transformers makes of them, and what ours did.

usage: templates.py cases CASES.json            writes the cases to be rendered
       templates.py compare CASES.json OURS.json RESULTS.json

A case is a `tokenizer_config.json` with conversations, or a tokenizer with texts. Where Transformers
fails, ours must fail too; where it does not, both must give the same string, or the same ids. The
templates are of the kinds that are in use: each uses what one family of models asks of Jinja.
"""

import json
import os
import pathlib
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"

TEMPLATES = {
    "chatml": """{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
    "brackets, the system inside the first turn": """{% if messages[0]['role'] == 'system' %}
    {% set turns = messages[1:] %}{% set system = messages[0]['content'] %}
{% else %}
    {% set turns = messages %}{% set system = false %}
{% endif %}
{% for m in turns %}
    {% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('turns must go user, assistant, user, assistant') }}
    {% endif %}
    {% if loop.index0 == 0 and system != false %}
        {% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + m['content'] %}
    {% else %}
        {% set content = m['content'] %}
    {% endif %}
    {% if m['role'] == 'user' %}
        {{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}
    {% elif m['role'] == 'assistant' %}
        {{ ' '  + content.strip() + ' ' + eos_token }}
    {% endif %}
{% endfor %}""",
    "headers, with a date that has a fallback": """{{- bos_token }}
{%- if custom_tools is defined %}{% set tools = custom_tools %}{%- endif %}
{%- if not tools_in_user_message is defined %}{%- set tools_in_user_message = true %}{%- endif %}
{%- if not date is defined %}{%- set date = "26 Jul 2024" %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- "Today: " + date + "\\n\\n" }}{{- system }}{{- "<|eot_id|>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first = messages[0]['content']|trim %}
        {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("one call at a time") }}{%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '{"name": "' + call.name + '", ' }}{{- '"parameters": ' }}{{- call.arguments | tojson }}{{- "}" }}
        {{- "<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}
        {%- else %}{{- message.content }}{%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
""",
    "strict turns with namespaces": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate after the optional system message") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}{{- "[TOOLS]" }}{%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[CALLS] [" }}
        {%- for call in message.tool_calls %}
            {%- set out = call.function|tojson %}
            {{- out[:-1] }}
            {%- if call.id is not defined or call.id|length != 9 %}{{- raise_exception("ids have 9 characters") }}{%- endif %}
            {{- ', "id": "' + call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" %}
        {{- '[RESULTS] {"content": ' + message.content|string + "}" }}
    {%- else %}
        {{- raise_exception("only user and assistant roles are known: " + message["role"]) }}
    {%- endif %}
{%- endfor %}
""",
    "turns without a system": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('there is no system role') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate, please') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}""",
    "parts of text and image": """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set prefix = "" -%}
    {%- set turns = messages -%}
{%- endif -%}
{%- for message in turns -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<t>' + role + '\\n' + (prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}{{ '<image>' }}
            {%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("content of no known kind") }}
    {%- endif -%}
    {{ '</t>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{'<t>model\\n'}}{%- endif -%}
""",
    "roles as tokens": """{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'user' %}{{'<|user|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>
' + message['content'] + '<|end|>
'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
' }}{% else %}{{ eos_token }}{% endif %}""",
    "tools and thoughts": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or (not loop.last and reasoning_content)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}""",
    "state in a namespace": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='', is_first_sp=true) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<|User|>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}{{'<|Assistant|><|call|>' + tool['type'] + '<|sep|>' + tool['function']['name'] + '\\n```json\\n' + tool['function']['arguments']|tojson + '\\n```'}}{%- set ns.is_first = true -%}{%- endif %}{%- endfor %}{{'<|end|>'}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<|Assistant|>' + content + '<|end|>'}}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<|outputs|>' + message['content']}}{%- set ns.is_output_first = false %}{%- else %}{{'\\n' + message['content']}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<|outputs_end|>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<|Assistant|><think>\\n'}}{% endif %}""",
    "marked generations": """{%- for message in messages %}
{%- if message.role == 'assistant' %}
<|assistant|>
{% generation %}
{%- set inner = message.content %}
{{- inner }}{{ eos_token }}
{%- endgeneration %}

{%- else %}
<|{{ message.role }}|>
{{ message.content }}
{%- endif %}
{%- if inner is defined %}leaked{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}
<|assistant|>
{% endif %}""",
    "macros": """{%- macro show(value, name='x', deep=false) -%}
  {%- if value is mapping -%}
    { {%- for key, item in value.items() -%}{{ ', ' if not loop.first }}{{ key }}: {{ show(item, key) }}{%- endfor -%} }
  {%- elif value is sequence and value is not string -%}
    [{% for item in value %}{{ show(item, deep=true) }}{% if not loop.last %}, {% endif %}{% endfor %}]
  {%- elif value is string -%}
    "{{ value }}"
  {%- elif value is number -%}
    n{{ value }}
  {%- elif value is boolean or value is none -%}
    {{ value }}
  {%- endif -%}
{%- endmacro -%}
{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.revindex }} {{ show(m) }}
{% endfor %}""",
    "what Python prints": """{% for m in messages %}{{ m }}
{{ m.content }} {{ m.tool_calls }} {{ [1, 2.5, none, true, 'a"b', "it's", 1e20, 0.00001] }}
{{ m.keys()|list }} {{ m.get('content', 'x') }} {{ m.get('nothing') }} {{ m.content is none }} {{ m.missing }}
{{ m | tojson }} {{ m|tojson(indent=2) }} {{ m|tojson(separators=(',', ':')) }} {{ m|tojson(sort_keys=true, ensure_ascii=true) }}
{% endfor %}""",
    "methods and filters": """{% for m in messages if m.content is string %}
{%- set c = m.content %}
{{ c.upper() }}|{{ c.lower() }}|{{ c.title() }}|{{ c.capitalize() }}|{{ c|upper }}|{{ c|length }}|{{ c|trim|length }}
{{ c.split() }}|{{ c.split(' ', 1) }}|{{ c.rsplit(None, 1) }}|{{ c.splitlines() }}|{{ c.partition(' ')|list }}|{{ c.rpartition('?')|join('/') }}|{{ c.strip() }}|{{ c.lstrip('\\n ') }}|{{ c.rstrip() }}
{{ c.find('a') }}|{{ c.rfind('a') }}|{{ c.count('a') }}|{{ c.replace('a', 'A', 1) }}|{{ c|replace('e', '3') }}|{{ c.startswith(('W', 'H')) }}|{{ c.endswith('.') }}
{{ c[:5] }}|{{ c[-3:] }}|{{ c[::-1] }}|{{ c[1:4:2] }}|{{ c.isupper() }}{{ c.islower() }}{{ c.isdigit() }}{{ c.isalpha() }}{{ c.isspace() }}|{{ c[0] }}|{{ c|first }}{{ c|last }}
{{ ', '.join(c.split()) }}|{{ c.split()|join('+') }}|{{ c.split()|map('upper')|list }}|{{ c.split()|unique|list|length }}|{{ c.split()|sort|first }}
{{ 'a' in c }}|{{ 'zzz' not in c }}|{{ c ~ 1 ~ 'x' }}|{{ c is string }}{{ c is sequence }}{{ c is iterable }}{{ c is mapping }}{{ c is number }}
{%- endfor %}
{{ messages|map(attribute='role')|join(',') }} {{ messages|selectattr('role', 'eq', 'user')|list|length }} {{ messages|rejectattr('content')|list|length }} {{ messages|length }}
{{ range(3)|list }} {{ range(1, 7, 2)|list }} {{ [3, 1, 2]|sort }} {{ [1, 2]|sum }} {% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %} {{ {'b': 1, 'a': 2}|dictsort|map('first')|list }} {{ c is defined }} {{ 7 // 2 }} {{ 7 % 3 }} {{ 2 ** 3 }} {{ 7 / 2 }} {{ '3'|int + 1 }} {{ nothing|default('d') }} {{ ''|default('e', true) }} {{ [[1, 2], [3]]|length }} {{ -1|abs }}
""",
    "loops that stop": """{%- for m in messages %}
{%- if m.role == 'system' %}{% continue %}{% endif %}
{%- if loop.index > 4 %}{% break %}{% endif %}
{{ loop.index }}{{ loop.first }}{{ loop.last }} {{ m.role }} {{ loop.previtem.role if loop.previtem is defined else '-' }} {{ loop.nextitem.role if not loop.last }} {{ loop.cycle('odd', 'even') }}
{%- else %}nobody
{%- endfor %}""",
    "blocks, comments and blanks": """{# a comment #}
  {# another #}
a
  {% if true %}
    b
  {%+ if true %}c{% endif +%}

  {% endif %}
 {{- ' d ' -}}
e {% raw %}{{ not }} {% generation %}{% endraw %}
{% set long %}
  {{ messages[0].role }}
{% endset %}
[{{ long }}] {% filter upper %}f{% endfilter %} {% with x = 1, y = 2 %}{{ x + y }}{% endwith %}
{{ 'tab\\there' }} {{ "quote\\"d" }} {{ 'uni\\u00e9\\x41' }} {{ 'back\\\\slash' }} {{ 'a' if false }}{{ ('a', 'b')|join }}{{ [1, 2, 3, 4][::-1] }}{{ [1, 2, 3, 4][3:0:-2] }}{{ 'abcdef'[5:1:-1] }}{{ ''[::-1] }}{{ [][::-1] }}{{ 'abcdef'[-100:100:2] }} {{ {} }} {{ [] }}
{{ 'x' if messages|length > 1 else 'y' }} {{ not messages }} {{ messages and 'yes' }} {{ none or 'or' }} {{ 1 if 1 == 1.0 }} {{ 1 < 2 < 3 }}


""",
    "line ends of another system": "{% for m in messages %}\r\n{{ m.role }}\r\n{% endfor %}\r\nend\r\n",
    "fails at an unknown name": "{{ messages[0].role.frobnicate() }}",
    "fails at an attribute of nothing": "{{ messages[0].nothing.at.all }}",
    "fails to compile": "{% for m in messages %}{{ m.role }}",
    "adds a text to nothing": "{{ 'a' + messages[0].nothing }}",
}

CALL = {"type": "function", "id": "abcdefghi", "function": {"name": "f", "arguments": {"x": 1, "y": [1.5, None, True], "z": "é<b>'\""}}}

CONVERSATIONS = [
    [{"role": "user", "content": "Who are you?"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "  Hello there \n"}],
    [
        {"role": "system", "content": "Be brief.\n"},
        {"role": "user", "content": "Hé <b>\"you\"</b> & 'me' 🙂"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nWhat a day.\n"},
        {"role": "user", "content": "a\n\nb\tc"},
        {"role": "assistant", "content": " An answer."},
    ],
    [
        {"role": "user", "content": "Call it"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "42", "tool_call_id": "abcdefghi"},
        {"role": "tool", "content": "43"},
        {"role": "assistant", "content": "It is 42."},
        {"role": "user", "content": "Thanks"},
    ],
    [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is this? "}]}],
    [
        {"role": "user", "content": "Think"},
        {"role": "assistant", "thinking": "hm", "content": "Two.", "reasoning_content": None},
        {"role": "assistant", "content": "Three.", "reasoning": "well"},
    ],
    [{"role": "assistant", "content": "I begin"}, {"role": "user", "content": "And I"}],
    [{"role": "user", "content": ""}, {"role": "user", "content": "x"}],
    [{"role": "judge", "content": "Order!", "weight": 0.1, "count": 12345678901234567890}],
    [],
]

TEXTS = [
    "", " ", "a", "Hello, world!", "  two  blanks ", "\n\n\ttabs\r\n", "é 🙂 日本語 \u200d \u0301", "<|endoftext|>", "x<|endoftext|> y",
    "it's we'll I'M 12345 67.8 ___ ---- ...", "\x00\x1f\x7f", "a" * 3000, "don't\u00a0break \u2028 lines", "<s>[INST] </s> ▁▁ <unk><0x41>",
]


def token(text):
    return {"__type": "AddedToken", "content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


def conversations():
    return [{"messages": messages, "add_generation_prompt": prompt} for messages in CONVERSATIONS for prompt in (False, True)]


def byte_level():
    return (pathlib.Path(__file__).parents[2] / "testdata/tiny-llama/tokenizer.json").read_text()


def metaspace():
    """Llama 2's kind: blanks as a letter, unknown characters by bytes."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"<0x{byte:02X}>": 3 + byte for byte in range(256)}
    merges = ["▁ a", "h e", "l l", "he ll", "hell o", "▁ ▁", "▁▁ ▁▁", "i n", "▁ t", "▁t he", "e r", "▁ ▁t"]
    for letter in "▁abcdefghijklmnopqrstuvwxyzHIN[]/.,!":
        vocabulary.setdefault(letter, len(vocabulary))
    merges = [merge for merge in merges if all(part in vocabulary or vocabulary.setdefault(part, len(vocabulary)) for part in merge.split())]
    for merge in merges:
        vocabulary.setdefault(merge.replace(" ", ""), len(vocabulary))
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for i, t in enumerate(("<unk>", "<s>", "</s>"))]
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None, "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False, "vocab": vocabulary, "merges": merges},
    })


def unigram():
    pieces = [["<unk>", 0.0], ["▁", -2.0], ["▁the", -3.25], ["▁a", -3.5], ["he", -4.0], ["ll", -4.5], ["hello", -5.75]] + [[c, -6.0 - i / 10] for i, c in enumerate("abcdefghijklmnopqrstuvwxyz.,")]
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": {"type": "NFKC"},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": None, "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": False},
    })


def split_by_regex():
    """Llama 3's kind: byte-level after a split with look-ahead, merges skipped for whole words."""
    tokenizer = json.loads(byte_level())
    pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}
    tokenizer["model"]["ignore_merges"] = True
    return json.dumps(tokenizer)


def cases():
    made = []
    for name, template in TEMPLATES.items():
        config = {"bos_token": "<s>", "eos_token": token("</s>"), "pad_token": None, "add_bos_token": True, "chat_template": template}
        made.append({"name": name, "tokenizer_config": config, "conversations": conversations()})
    chatml = TEMPLATES["chatml"]
    named = [{"name": "tool_use", "template": "tools"}, {"name": "default", "template": chatml}]
    made.append({"name": "named templates", "tokenizer_config": {"chat_template": named}, "conversations": conversations()})
    for name, tokenizer in [("byte-level", byte_level()), ("metaspace", metaspace()), ("unigram", unigram()), ("split by a pattern", split_by_regex())]:
        corpus = (pathlib.Path(__file__).parents[2] / "testdata/tiny-llama/evaluation.txt").read_text()
        made.append({"name": f"tokenizer, {name}", "tokenizer": tokenizer, "texts": TEXTS + [corpus]})
    return made


def loaded(case):
    """A tokenizer as a user would load it."""
    from transformers import PreTrainedTokenizerFast

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "tokenizer.json").write_text(case.get("tokenizer") or byte_level())
        config = case.get("tokenizer_config", {}) | {"tokenizer_class": "PreTrainedTokenizerFast"}
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return PreTrainedTokenizerFast.from_pretrained(folder)


def expected(case):
    tokenizer = loaded(case)
    if "texts" in case:
        return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in case["texts"]]
    found = []
    for conversation in case["conversations"]:
        try:
            prompt = conversation["add_generation_prompt"]
            found.append(tokenizer.apply_chat_template(conversation["messages"], tokenize=False, add_generation_prompt=prompt))
        except Exception as error:  # a template may raise anything
            found.append({"error": str(error)})
    return found


def compare(case, ours):
    """Says what was found, and whether it is as it must be."""
    theirs = expected(case)
    if isinstance(ours, dict):  # ours fails before it sees a conversation
        ours = [ours] * len(theirs)
    fails = lambda result: isinstance(result, dict)
    alike = lambda a, b: a == b or (fails(a) and fails(b))
    for index, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if not alike(our, their):
            return False, f"{index}: ours {str(our)[:600]!r}, Transformers' {str(their)[:600]!r}"
    refused = sum(map(fails, theirs))
    return True, f"{len(theirs) - refused:>3} equal, {refused:>3} refused by both"


def main():
    if sys.argv[1] == "cases":
        pathlib.Path(sys.argv[2]).write_text(json.dumps(cases()))
        return
    made, ours = (json.loads(pathlib.Path(path).read_text()) for path in sys.argv[2:4])
    failed = 0
    for case, our in zip(made, ours, strict=True):
        same, found = compare(case, our)
        failed += not same
        print(f"{'ok    ' if same else 'FAILED'} {case['name']:<47}  {found}", flush=True)
    pathlib.Path(sys.argv[4]).write_text(json.dumps({"passed": len(made) - failed, "failed": failed}))


if __name__ == "__main__":
    main()
