//! A tensor's `data` in JSON, flat or nested, read into one row of values as it is parsed.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

/// Texts that are read, at most: as many as images are taken, and one too many.
const TEXTS: usize = 64;

/// Values in row-major order: numbers, or texts.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Flat {
    pub numbers: Vec<f32>,
    pub texts: Vec<String>,
}

struct Appending<'a>(&'a mut Flat);

impl<'de> Deserialize<'de> for Flat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut flat = Self::default();
        Appending(&mut flat).deserialize(deserializer)?;
        if !flat.numbers.is_empty() && !flat.texts.is_empty() {
            return Err(D::Error::custom("numbers and texts in one tensor"));
        }
        Ok(flat)
    }
}

impl<'de> DeserializeSeed<'de> for Appending<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "FP32 is what the model takes")]
impl<'de> Visitor<'de> for Appending<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers or texts, nested as the shape says or flat")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.0.numbers.push(value as f32);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.numbers.push(value as f32);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.0.numbers.push(value as f32);
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        if self.0.texts.len() > TEXTS {
            return Err(E::custom("more texts than images are taken"));
        }
        self.0.texts.push(value.to_owned());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        while values.next_element_seed(Appending(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_data_is_read_row_by_row() {
        let read = |text: &str| serde_json::from_str::<Flat>(text);
        let numbers = |text: &str| read(text).expect("data").numbers;
        assert_eq!(numbers("[[1, 2.5], [-3, [4]]]"), [1.0, 2.5, -3.0, 4.0]);
        assert_eq!(read("[\"a\", [\"b\"]]").expect("data").texts, ["a", "b"]);
        for wrong in ["[1, \"a\"]", "[null]", "[{}]", "[true]", &"[".repeat(100_000)] {
            assert!(read(wrong).is_err(), "{wrong:.20}");
        }
    }
}
