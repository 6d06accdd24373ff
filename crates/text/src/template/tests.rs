//! Templates on small conversations; `xtask interop` holds many more against Transformers.

use super::*;
use serde_json::json;

fn rendered(template: &str, date: Option<&str>) -> Result<String, TemplateError> {
    let config = json!({
        "bos_token": {"content": "<s>", "lstrip": false},
        "eos_token": "</s>",
        "add_bos_token": true,
        "chat_template": template,
    });
    let messages = [
        json!({"role": "user", "content": "  it's <b>\u{1f}", "n": [1, 1.0, null, true]}),
        json!({"role": "assistant", "content": "one\ntwo"}),
    ];
    let date = date.map(|date| date.parse().unwrap());
    let options = RenderOptions { add_generation_prompt: true, date };
    ChatTemplate::parse(&config, None)?.unwrap().render(&messages, &options)
}

fn check(template: &str, expected: &str) {
    assert_eq!(rendered(template, None).as_deref(), Ok(expected), "{template}");
}

fn check_fails(template: &str, expected: &str) {
    assert_eq!(rendered(template, None).unwrap_err().to_string(), expected, "{template}");
}

/// Expected values are Python's.
#[test]
fn values_are_printed_as_python_prints_them() {
    check("{{ none }} {{ true }} {{ tools }} {{ missing }}", "None True None ");
    check("{{ messages[0].n }}", "[1, 1.0, None, True]");
    check("{{ {'a': \"it's\"} }}", r#"{'a': "it's"}"#);
    check("{{ messages[0].n|join('-') }}|{{ 1.50|string }}", "1-1.0-None-True|1.5");
}

#[test]
fn json_is_what_python_dumps() {
    check("{{ messages[0].n|tojson }}", "[1, 1.0, null, true]");
    check("{{ {'b': '<é>', 'a': {}}|tojson }}", r#"{"b": "<é>", "a": {}}"#);
    let sorted = "{{ {'b': 'é', 'a': []}|tojson(ensure_ascii=true, sort_keys=true) }}";
    check(sorted, r#"{"a": [], "b": "\u00e9"}"#);
    check("{{ {'a': [1, 2]}|tojson(indent=2) }}", "{\n  \"a\": [\n    1,\n    2\n  ]\n}");
    check("{{ {'a': [1, 2]}|tojson(separators=(',', ':')) }}", r#"{"a":[1,2]}"#);
    check("{{ messages[0].content|tojson }}", "\"  it's <b>\\u001f\"");
}

#[test]
fn methods_of_texts_are_those_of_python() {
    check("{{ messages[0].content.strip() }}|{{ messages[0].content|trim }}", "it's <b>|it's <b>");
    check("{{ 'éab'.find('b') }} {{ 'abab'.rfind('ab') }} {{ 'a'.find('b') }}", "2 2 -1");
    check("{{ 'a,b,c'.split(',', 1) }} {{ ' a  b '.split() }}", "['a', 'b,c'] ['a', 'b']");
    check(
        "{{ 'a,b,c'.rsplit(',', maxsplit=1)[-1] }}{{ ' a  b c'.rsplit(none, 1) }}",
        "c[' a  b', 'c']",
    );
    check("{{ 'a</t>b'.partition('</t>') }}", "['a', '</t>', 'b']");
    check("{{ 'abc'.removeprefix('a').removesuffix('c') }}", "b");
    check("{{ 'abc'.startswith(('x', 'ab')) }} {{ ''.isdigit() }}", "True False");
    check("{{ 'a\\r\\nb\\n'.splitlines() }} {{ 'aaa'.count('') }}", "['a', 'b'] 4");
    check("{{ 'a1'.islower() }} {{ '-7'.zfill(4) }} {{ 'abc'.upper()[::-1] }}", "True -007 CBA");
}

#[test]
fn blocks_leave_no_lines_behind() {
    check("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc");
    check("{%- for m in messages %}\n{{ m.role }}\n{%- endfor %}", "userassistant");
}

#[test]
fn what_the_model_says_is_kept() {
    let template = "{% for m in messages %}{% generation %}{{ m.role }}{% set x = 1 %}\
                    {% endgeneration %}{{ x is defined }}{% endfor %}";
    check(template, "userFalseassistantFalse");
}

#[test]
fn special_tokens_are_known_by_name() {
    check("{{ bos_token + eos_token }}{{ add_bos_token is defined }}", "<s></s>False");
    check("{{ pad_token is defined }}{{ add_generation_prompt }}", "FalseTrue");
}

#[test]
fn the_clock_is_not_read() {
    let asks = "\n{{ strftime_now('%d %b %Y') }}";
    let error = rendered(asks, None).unwrap_err();
    assert_eq!(error, TemplateError::NoDate { line: 2 });
    assert!(error.hint().is_some());
    assert_eq!(rendered(asks, Some("2024-07-26")).as_deref(), Ok("\n26 Jul 2024"));
    check("{% if strftime_now is defined %}now{% else %}then{% endif %}", "then");
    let hour = rendered("{{ strftime_now('%H') }}", Some("2024-07-26")).unwrap_err().to_string();
    assert!(hour.ends_with("asks for more than a day tells"), "{hour}");
}

#[test]
fn a_template_that_fails_says_what_and_where() {
    let raises = "{% for m in messages %}\n{% if loop.last %}\n\
                  {{ raise_exception('only users may speak!') }}{% endif %}{% endfor %}";
    check_fails(raises, "the chat template fails in line 3: only users may speak!");
    check_fails("\n{% if %}", "line 2 of the chat template is wrong: unexpected end of block");
    let unknown = "line 1 of the chat template is wrong: unknown statement frobnicate";
    check_fails("{% frobnicate %}", unknown);
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let nested = "{% for a in range(99999) %}{% for b in range(99999) %}{{ 1 }}\
                  {% endfor %}{% endfor %}";
    check_fails(nested, "the chat template fails in line 1: engine ran out of fuel");
    let long = "{% set x = 'x' * 1000000 %}{% for a in range(999) %}{{ x }}{% endfor %}";
    check_fails(long, "the chat template gives more than 67108864 bytes");
    let deep = format!("{{{{ {}1{} }}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(rendered(&deep, None), Err(TemplateError::Syntax { .. })));
    let endless = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    assert!(matches!(rendered(endless, None), Err(TemplateError::Fails { .. })));
}

/// Where a template comes from.
fn found(config: Value, jinja: Option<&str>) -> Result<Option<String>, String> {
    let template = ChatTemplate::parse(&config, jinja).map_err(|error| error.to_string())?;
    Ok(template.map(|template| template.source))
}

#[test]
fn a_template_is_found_where_transformers_finds_it() {
    let one = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(found(json!({"chat_template": "a"}), None), one("a"));
    assert_eq!(found(json!({"chat_template": "a"}), Some("b")), one("b"));
    assert_eq!(found(json!({"chat_template": null}), None), Ok(None));
    assert_eq!(found(json!(null), None), Ok(None));
    let tools = json!({"name": "tool_use", "template": "t"});
    let list = json!({"chat_template": [tools, {"name": "default", "template": "d"}]});
    assert_eq!(found(list, None), one("d"));
    let message = "`chat_template` of `tokenizer_config.json` has no template named `default`, \
                   but `tool_use`";
    assert_eq!(found(json!({"chat_template": [tools]}), None), Err(message.to_owned()));
    let kind = "`chat_template` of `tokenizer_config.json` is a number, \
                expected text or a list of named templates";
    assert_eq!(found(json!({"chat_template": 1}), None), Err(kind.to_owned()));
}
