//! Long JSON lists, assembled as text. A tree of values for a million items takes much memory, and freeing it blocks all threads
//! that allocate.

use std::fmt::Write;

use serde_json::Value;

/// The items of an array, as compact JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    text: String,
    len: usize,
}

impl List {
    /// Adds an item.
    pub fn push(&mut self, item: &Value) {
        let comma = if self.len == 0 { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(self.text, "{comma}{item}");
        self.len += 1;
    }

    /// Adds an item that is JSON already.
    pub fn push_text(&mut self, item: &str) {
        if self.len > 0 {
            self.text.push(',');
        }
        self.text.push_str(item);
        self.len += 1;
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all items.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The array as JSON.
    pub fn into_json(self) -> String {
        let mut json = self.text;
        json.insert(0, '[');
        json.push(']');
        json
    }

    /// The JSON of an object with this list as its last field, `key`; without that field if the list is empty.
    pub fn within(self, object: &Value, key: &str) -> String {
        let mut json = object.to_string();
        if !self.is_empty() && json.ends_with('}') {
            json.pop();
            let comma = if json.len() > 1 { "," } else { "" };
            let _ = write!(json, "{comma}{}:[{}]}}", Value::from(key), self.text);
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_becomes_part_of_an_object() {
        let within = |object: &Value, items: &[Value]| {
            let mut list = List::default();
            for (n, item) in items.iter().enumerate() {
                if n % 2 == 0 { list.push(item) } else { list.push_text(&item.to_string()) }
            }
            assert_eq!(serde_json::from_str::<Value>(&list.clone().into_json()).expect("JSON"), json!(items));
            assert_eq!((list.len(), list.is_empty()), (items.len(), items.is_empty()));
            serde_json::from_str::<Value>(&list.within(object, "l\"")).expect("JSON")
        };
        let items = [json!("a\"b"), json!({}), json!([1, null])];
        assert_eq!(within(&json!({}), &items), json!({"l\"": items}));
        assert_eq!(within(&json!({"x": 1}), &items[..1]), json!({"x": 1, "l\"": ["a\"b"]}));
        assert_eq!(within(&json!({"x": 1}), &[]), json!({"x": 1}));
    }
}
