//! Tests of the parser of the configuration language.

use proptest::prelude::*;

use super::*;
use crate::lang::{MemorySource, parse_bytes, to_json};

fn json(text: &str) -> Result<String, String> {
    parse_bytes(text.as_bytes()).map(|tree| to_json(&tree)).map_err(|error| error.to_string())
}

#[test]
fn layouts_that_mean_the_same() {
    let texts = [
        "a: 1\nb: x",
        "a = 1; b = x",
        "a 1, b x,",
        "a\n1\nb\n\n x",
        "{ a: 1, b: x }",
        "{{ a: 1, b: x }}",
        "{\"a\": 1, \"b\": \"x\"}",
        "{\n a: 1\n b: x\n",
        "'a': 1 # one\n\"b\": x // two\n",
        "# first\n// second\na:1\r\nb:x\r\n",
        "a: 1 }\nb: x\n}\n",
        "a: 0\na: 1\nb: y, b: x",
        "{ a: 1 # c\n }\n b: x",
        "\u{feff}a: 1, b: x",
    ];
    for text in texts {
        assert_eq!(json(text).as_deref(), Ok(r#"{"a":1,"b":"x"}"#), "{text:?}");
    }
}

#[test]
fn blocks_and_lists() {
    let cases = [
        ("a { b { c: 1 } }", r#"{"a":{"b":{"c":1}}}"#),
        ("a {b: 1; c: 2, d: 3\n e 4}", r#"{"a":{"b":1,"c":2,"d":3,"e":4}}"#),
        ("a {\n b:\n 1 # x\n // y\n}", r#"{"a":{"b":1}}"#),
        ("a { 'x y': 1, \"z=\": 2, u.v 3 }", r#"{"a":{"u.v":3,"x y":1,"z=":2}}"#),
        ("a: [1, 2, 3]", r#"{"a":[1,2,3]}"#),
        ("a [ x\n y\n\n z, ]", r#"{"a":["x","y","z"]}"#),
        ("a = [ # c\n x, // d\n y # e\n]", r#"{"a":["x","y"]}"#),
        ("a: [[1], {b: [2]}, []]", r#"{"a":[[1],{"b":[2]},[]]}"#),
        ("a: [10, 1k, 1.5, 5g]", r#"{"a":[10,1000,1.5,"5g"]}"#),
        ("a: ", r#"{"a":""}"#),
        ("a: , b: ;c:x", r#"{"a":"","b":"","c":"x"}"#),
        ("", "{}"),
        ("# nothing", "{}"),
        ("{", "{}"),
        ("a: (\n x: {\n)\nb: 1", r#"{"a":"\n x: {\n","b":1}"#),
        ("include: 5", r#"{"include":5}"#),
    ];
    for (text, expected) in cases {
        assert_eq!(json(text).as_deref(), Ok(expected), "{text:?}");
    }
}

#[test]
fn what_does_not_parse() {
    let cases = [
        ("port: 4222x y", "input:1:12: Parse error on line 1: 'Expected a new line"),
        ("a: [1,2\n", "input:2:1: Parse error on line 2: 'A list is not closed"),
        ("a: [,1]", "input:1:4: Parse error on line 1: 'Unexpected array value terminator"),
        ("a: [1,,2]", "Unexpected array value terminator"),
        ("a: [1;2]", "but got ';' instead"),
        ("a: [1 2]", "but got '2' instead"),
        ("a {b: 1", "input:1:7"),
        ("a {b", "not closed"),
        ("a {b: }", "Expected a value, but found '}'"),
        ("a {b: , c: 1}", "Expected a value, but found ','"),
        ("a {b: 1 c: 2}", "but got 'c' instead"),
        ("a {: 1}", "Unexpected key separator ':'"),
        ("a {]}", "Unexpected array end"),
        ("= 1", "Unexpected key separator '='"),
        ("a:\n1", "Expected value but found new line"),
        ("port", "input:1:0: config is invalid (input:1:4)"),
        ("x: $NOPE", "input:1:3: variable reference for 'NOPE' on line 1 can not be found"),
        ("\n x: 1\n y: $z", "input:3:5: variable reference for 'z' on line 3 can not be found"),
        (
            "include nope.conf",
            "input:1:7: error parsing include file 'nope.conf', open nope.conf: no such file",
        ),
        ("include [x]", "Expected the path of a file"),
        ("a: \"x", "input:1:3: Parse error on line 1: 'A quoted text is not closed"),
        ("a\0b", "input:1:1: Parse error on line 1: 'Unexpected NUL character'"),
        ("/a: 1", "can't begin with '/'"),
        ("a: 1\n} b: 1", "input"),
    ];
    for (text, part) in cases {
        let message = json(text).unwrap_err();
        assert!(message.contains(part), "{text:?}: {message}");
    }
    let error = parse_bytes(b"a: 1\nb: \xff").unwrap_err();
    assert_eq!(error.to_string(), "input:2:4: Parse error on line 2: 'The text is not UTF-8'");
}

#[test]
fn positions_are_those_of_keys_and_items() {
    let tree = parse_bytes(b"a: 1\n  b { \"c\": [x, 'y'] }").unwrap();
    let at = |node: &Node| (node.position.line, node.position.column);
    assert_eq!(at(&tree["a"]), (1, 0));
    assert_eq!(at(&tree["b"]), (2, 3));
    let Value::Map(block) = &tree["b"].value else { panic!() };
    assert_eq!(at(&block["c"]), (2, 8));
    let Value::Array(items) = &block["c"].value else { panic!() };
    assert_eq!(items.iter().map(at).collect::<Vec<_>>(), [(2, 13), (2, 17)]);
}

#[test]
fn variables_come_from_inside_out_and_then_from_the_environment() {
    let source = MemorySource::default()
        .with_variable("PORT", "4333")
        .with_variable("LIST", "[a, $PORT]")
        .with_variable("TEXT", "'on'")
        .with_variable("FLAG", "on");
    let cases = [
        ("x: 1, y: $x", r#"{"x":1,"y":1}"#),
        ("x: 1, b { x: 2, y: $x }, z: $x", r#"{"b":{"x":2,"y":2},"x":1,"z":1}"#),
        ("x: 1, b { c { y: [$x, {z: $x}] } }", r#"{"b":{"c":{"y":[1,{"z":1}]}},"x":1}"#),
        ("x { y: 1 }, z: $x", r#"{"x":{"y":1},"z":{"y":1}}"#),
        ("PORT: 1, y: $PORT", r#"{"PORT":1,"y":1}"#),
        ("y: $PORT, z: $LIST, t: $TEXT, f: $FLAG", r#"{"f":true,"t":"on","y":4333,"z":["a",4333]}"#),
        ("y: '$PORT', z: \"$PORT\"", r#"{"y":"$PORT","z":"$PORT"}"#),
    ];
    for (text, expected) in cases {
        let tree = parse_text(text.as_bytes(), "t", &source).unwrap();
        assert_eq!(to_json(&tree), expected, "{text}");
    }
    let tree = parse_text(b"x: 1, w: 2, y: $x", "t", &source).unwrap();
    assert!(tree["x"].is_used_variable && !tree["w"].is_used_variable && !tree["y"].is_used_variable);
}

#[test]
fn variables_of_the_environment_may_not_form_a_circle() {
    let source = MemorySource::default()
        .with_variable("A", "$B")
        .with_variable("B", "[$A]")
        .with_variable("BAD", "[1");
    let error = parse_text(b"x: $A", "t", &source).unwrap_err().to_string();
    assert!(error.contains("variable reference cycle for 'A'"), "{error}");
    let error = parse_text(b"x: $BAD", "t", &source).unwrap_err().to_string();
    assert!(
        error.starts_with("t:1:3: variable reference for 'BAD' on line 1 could not be parsed"),
        "{error}"
    );
}

#[test]
fn includes_are_relative_and_merge_where_they_stand() {
    let source = MemorySource::default()
        .with_file("etc/main.conf", "include 'sub/a.conf'\nb { InClude ./sub/b.conf; z: $inner }\ny: $top")
        .with_file("etc/sub/a.conf", "top: 1\ninclude ../c.conf")
        .with_file("etc/sub/b.conf", "inner: 2")
        .with_file("etc/c.conf", "c: 3");
    let tree = parse_file(Path::new("etc/main.conf"), &source).unwrap();
    assert_eq!(to_json(&tree), r#"{"b":{"inner":2,"z":2},"c":3,"top":1,"y":1}"#);
    assert_eq!(tree["c"].position.to_string(), "etc/c.conf:1:0");
    assert!(tree["top"].is_used_variable);
}

#[test]
fn errors_in_includes_name_both_files() {
    let source = MemorySource::default()
        .with_file("main.conf", "x: 1\ninclude bad.conf")
        .with_file("bad.conf", "\n y: [");
    let error = parse_file(Path::new("main.conf"), &source).unwrap_err().to_string();
    let expected =
        "main.conf:2:8: error parsing include file 'bad.conf', bad.conf:2:6: Parse error on line 2";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn include_circles_end() {
    let source = MemorySource::default()
        .with_file("a.conf", "include b.conf")
        .with_file("b.conf", "{ x { include ./a.conf } }");
    let error = parse_file(Path::new("a.conf"), &source).unwrap_err().to_string();
    assert!(error.contains("include cycle: 'a.conf'"), "{error}");
}

#[test]
fn bounds_hold() {
    let deep = "a: ".to_owned() + &"[".repeat(100_000);
    assert!(json(&deep).unwrap_err().contains("nested too deeply"));
    let deep = "a ".to_owned() + &"{a ".repeat(100_000);
    assert!(json(&deep).unwrap_err().contains("nested too deeply"));
    assert!(json(&"{".repeat(100_000)).is_ok());

    // Each variable has ten copies of the previous one: 10⁹ values in the end.
    let mut bomb = String::from("v0: [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..9 {
        let items = vec![format!("$v{}", level - 1); 10].join(",");
        bomb += &format!("v{level}: [{items}]\n");
    }
    assert!(json(&bomb).unwrap_err().contains("too many values"));

    let source = (0..20).fold(MemorySource::default(), |source, level| {
        let next = level + 1;
        source.with_file(format!("{level}.conf"), format!("include '{next}.conf'\ninclude '{next}.conf'"))
    });
    let source = source.with_file("20.conf", "");
    let error = parse_file(Path::new("0.conf"), &source).unwrap_err().to_string();
    assert!(error.contains("too many files"), "{error}");
}

/// Texts similar to configurations, so that the parser gets far into them.
fn near_configuration() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a"),
        Just("include"),
        Just(" "),
        Just("\n"),
        Just(":"),
        Just("="),
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(";"),
        Just("#"),
        Just("//"),
        Just("'"),
        Just("\""),
        Just("("),
        Just("\n)\n"),
        Just("\\x4"),
        Just("$a"),
        Just("$2a$10$x"),
        Just("12"),
        Just("k"),
        Just("ib"),
        Just("."),
        Just("-"),
        Just("2016-05-04T18:53:41Z"),
        Just("true"),
        Just("é"),
        Just("\0"),
        Just("\r"),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Values that survive writing and reading unchanged.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Bool),
        "\\PC{0,12}".prop_map(Value::String),
        (-1_000_000..1_000_000_i32).prop_map(|n| Value::Float(f64::from(n) / 64.0)),
    ];
    let node = |value| Node {
        value,
        position: Position { file: "".into(), line: 0, column: 0 },
        is_used_variable: false,
    };
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone().prop_map(node), 0..6).prop_map(Value::Array),
            proptest::collection::btree_map("[a-z][a-z0-9_.]{0,8}", inner.prop_map(node), 0..6)
                .prop_map(Value::Map),
        ]
    })
}

fn write(value: &Value, style: usize) -> String {
    let separator = [", ", "\n", ",\n # c\n"][style % 3];
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Bool(truth) => {
            [["no", "yes"], ["OFF", "ON"], ["false", "true"]][style % 3][usize::from(*truth)].into()
        }
        Value::Float(number) => format!("{number:?}"),
        Value::Datetime(text) => text.clone(),
        Value::String(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|node| write(&node.value, style)).collect();
            format!("[{}]", items.join(separator))
        }
        Value::Map(entries) => {
            let key_end = [": ", " = ", " "][style % 3];
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, node)| format!("{key}{key_end}{}", write(&node.value, style)))
                .collect();
            format!("{{{}}}", entries.join(separator))
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_bytes(&bytes);
    }

    #[test]
    fn near_configurations_are_survived(text in near_configuration()) {
        let _ = parse_bytes(text.as_bytes());
    }

    #[test]
    fn what_is_written_is_read_back(value in any_value(), style in 0..3_usize) {
        let text = format!("v: {}", write(&value, style));
        let tree = parse_bytes(text.as_bytes()).unwrap();
        let written = Map::from([(
            "v".to_owned(),
            Node { value, position: tree["v"].position.clone(), is_used_variable: false },
        )]);
        prop_assert_eq!(to_json(&tree), to_json(&written), "{}", text);
    }
}
