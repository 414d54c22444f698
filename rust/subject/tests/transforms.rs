//! Compares transforms with those of nats-server 2.15.1. `data/transforms.json` was recorded from streams with each
//! transform as their `subject_transform`, to which the same subjects were published.

use serde_json::Value;
use stonechat_subject::{Transform, check_destination, is_valid_subject};

const SUBJECTS: [&str; 16] = [
    "a.b",
    "a.x-y-z",
    "a.abcdef",
    "a.abcdefgh",
    "a.12345",
    "foo.x.y",
    "a.b.c",
    "a.b.c.d",
    "a",
    "one",
    "one.two",
    "a.-x--y-",
    "a.é€z",
    "a.q.b.r",
    "a*",
    "zz.1.2.3.4.5.6.7",
];

#[test]
fn as_recorded() {
    let recorded: Vec<Value> = serde_json::from_str(include_str!("data/transforms.json")).expect("JSON");
    assert!(recorded.len() > 70);
    for case in &recorded {
        let (source, destination) =
            (case["source"].as_str().expect("text"), case["destination"].as_str().expect("text"));
        if !source.is_empty() && !is_valid_subject(source.as_bytes()) {
            let expected = format!("stream transform source: invalid subject {source}");
            assert_eq!(case["error"], expected.as_str());
            continue;
        }
        let made = check_destination(destination.as_bytes())
            .or_else(|e| if destination.is_empty() { Ok(()) } else { Err(e) })
            .and_then(|()| Transform::new(source.as_bytes(), destination.as_bytes()));
        let transform = match (made, case["error"].as_str()) {
            (Ok(transform), None) => transform,
            (Err(e), Some(expected)) => {
                assert_eq!(format!("stream transform: {e}"), expected, "{source} -> {destination}");
                continue;
            }
            (made, expected) => panic!("{source} -> {destination}: {made:?}, not {expected:?}"),
        };
        if destination.contains("random") {
            continue;
        }
        for subject in SUBJECTS {
            let expected = case["changed"][subject].as_str().unwrap_or(subject);
            let got = match &transform {
                Some(t) if t.matches(subject.as_bytes()) => t.apply(subject.as_bytes(), || 0),
                _ => subject.as_bytes().to_vec(),
            };
            // JSON shows bytes that are not UTF-8 as replacement characters.
            assert_eq!(go_text(&got), expected, "{source} -> {destination}: {subject}");
        }
    }
}

/// Returns text as Go writes it to JSON: one replacement character for each byte that is not UTF-8.
fn go_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    text
}

#[test]
fn random_stays_below_its_ceiling() {
    for (ceiling, expected) in [(10, "b.7"), (0, "b.0"), (-5, "b.2"), (1, "b.0")] {
        let transform =
            Transform::new(b"a", format!("b.{{{{random({ceiling})}}}}").as_bytes()).expect("valid");
        assert_eq!(transform.expect("there").apply(b"a", || 17), expected.as_bytes(), "{ceiling}");
    }
}

#[test]
fn imports_use_wildcards_only_and_all_of_them() {
    let error = |source: &str, destination: &str| {
        Transform::for_import(source.as_bytes(), destination.as_bytes()).expect_err("refused").to_string()
    };
    assert_eq!(
        error("a.*", "b.{{partition(3,1)}}"),
        "invalid mapping destination: the only mapping function allowed for import transforms is {{Wildcard()}} in \
         {{partition(3,1)}}"
    );
    assert_eq!(
        error("a.*.*", "b.$1"),
        "invalid mapping destination: not using all of the token wildcard(s) in b.$1"
    );
    assert!(Transform::for_import(b"a.*.*", b"b.$2.{{wildcard(1)}}").is_ok());
}
