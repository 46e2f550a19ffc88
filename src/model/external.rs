//! The files beside a model in which its weights lie (ONNX external data): which a model names, where they are, and their checksums.
//!
//! Only what says so is read of a model: its tensors' own bytes are passed over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use super::checksum::sha256_of;
use super::error::ModelError;
use crate::text::hex;

/// Messages within messages, as protobuf's own parsers bound them; subgraphs of loops and conditions lie so deep.
const DEPTH: u32 = 100;
/// Longest path that a system takes (Linux: `PATH_MAX`).
const LONGEST: u64 = 4096;

/// A file of external data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// As the model has it: relative to its folder.
    pub location: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its checksum, lower-case hex.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

/// The files of external data of the model at `path`, in order of their locations.
///
/// # Errors
/// When one of them cannot be read, or lies outside the model's folder.
pub(super) fn data_files(path: &Path) -> Result<Vec<DataFile>, ModelError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| ModelError::Unreadable { path, source }
    };
    let mut found = BTreeMap::new();
    let file = File::open(path).map_err(unreadable(path))?;
    let length = file.metadata().map_err(unreadable(path))?.len();
    let mut model = Wire { file: BufReader::new(file), at: 0 };
    // What is no ONNX file is refused by the runtime, in its own words.
    if let Err(error) = model.message(Kind::Model, length, &mut found, DEPTH)
        && !matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
    {
        return Err(unreadable(path)(error));
    }
    let is_there = |location: &str| is_inside(location) && path.with_file_name("").join(location).exists();
    // What says that it is not external may be so after all, in a reader that merges the halves of a tensor.
    let read = found.into_iter().filter(|(location, is_external)| *is_external || is_there(location));
    read.map(|(location, _)| data_file(path, location)).collect()
}

fn data_file(model: &Path, location: String) -> Result<DataFile, ModelError> {
    let refused = |problem: &str, remedy: &str| ModelError::Unsupported {
        model: model.display().to_string(),
        problem: format!("its external data file {location:?} {problem}"),
        remedy: remedy.to_owned(),
    };
    if !is_inside(&location) {
        return Err(refused(
            "lies outside the model's folder",
            "write the model with its data beside it (onnx.save_model, location=\"NAME.onnx.data\")",
        ));
    }
    let path = model.with_file_name("").join(&location);
    let missing =
        |e: std::io::Error| refused(&format!("cannot be read: {e}"), "put it beside the model, under this name");
    let metadata = path.metadata().map_err(missing)?;
    if !metadata.is_file() {
        // A pipe is waited for when it is opened, a device may never end.
        return Err(refused("is no ordinary file", "put it beside the model, under this name"));
    }
    let file = File::open(&path).map_err(missing)?;
    let sha256 = sha256_of(file).map_err(missing)?;
    Ok(DataFile { location, path, sha256, bytes: metadata.len() })
}

/// Whether a location leads to a file in the folder that it is relative to, or below.
pub(super) fn is_inside(location: &str) -> bool {
    let path = Path::new(location);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    is_plain && path.file_name().is_some() && !location.contains('\\') && !location.chars().any(char::is_control)
}

/// One checksum of a model and its data: that of what `sha256sum` prints of the files, the model first. Without data, that of the
/// model itself.
pub(super) fn whole_sha256(model: &Path, sha256: &str, data: &[DataFile]) -> String {
    if data.is_empty() {
        return sha256.to_owned();
    }
    let name = model.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let files = std::iter::once((sha256, &*name)).chain(data.iter().map(|data| (&*data.sha256, &*data.location)));
    let mut hash = Sha256::new();
    files.for_each(|(sha256, name)| hash.update(format!("{sha256}  {name}\n")));
    hex(&hash.finalize())
}

/// A message of the ONNX format (onnx.proto), as far as tensors lie in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Function,
    Training,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
}

impl Kind {
    /// The message in this field.
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) | (Self::Training, 1 | 2) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            _ => return None,
        })
    }
}

/// Fields of a tensor: its external data, each a key and a value, and whether it has any.
const EXTERNAL_DATA: u64 = 13;
const DATA_LOCATION: u64 = 14;
const EXTERNAL: u64 = 1;

/// A protobuf message that is read from a file.
struct Wire {
    file: BufReader<File>,
    at: u64,
}

/// What a field holds.
enum Value {
    Number(u64),
    /// So many bytes, which follow.
    Bytes(u64),
    Nothing,
}

fn invalid() -> std::io::Error {
    std::io::ErrorKind::InvalidData.into()
}

impl Wire {
    /// Reads a message up to `end`; the locations of external data in it go into `found`.
    fn message(&mut self, kind: Kind, end: u64, found: &mut BTreeMap<String, bool>, depth: u32) -> std::io::Result<()> {
        let depth = depth.checked_sub(1).ok_or_else(invalid)?;
        let (mut locations, mut is_external) = (Vec::new(), false);
        while self.at < end {
            let (number, value) = self.field(end)?;
            match value {
                Value::Number(value) if kind == Kind::Tensor && number == DATA_LOCATION => {
                    // An enum is of 32 bits: protobuf drops the others.
                    is_external = value & u64::from(u32::MAX) == EXTERNAL;
                }
                Value::Number(_) | Value::Nothing => {}
                Value::Bytes(length) => {
                    let until = self.at + length;
                    if kind == Kind::Tensor && number == EXTERNAL_DATA {
                        locations.extend(self.location(until)?);
                    } else if let Some(inner) = kind.field(number) {
                        self.message(inner, until, found, depth)?;
                    }
                    self.skip_to(until)?;
                }
            }
        }
        for location in locations {
            *found.entry(location).or_default() |= is_external;
        }
        Ok(())
    }

    /// The value of an entry whose key is `location`.
    fn location(&mut self, end: u64) -> std::io::Result<Option<String>> {
        let (mut key, mut value) = (String::new(), String::new());
        while self.at < end {
            let (number, Value::Bytes(length)) = self.field(end)? else { continue };
            let until = self.at + length;
            match number {
                1 => key = self.text(length)?,
                2 => value = self.text(length)?,
                _ => {}
            }
            self.skip_to(until)?;
        }
        Ok((key == "location").then_some(value))
    }

    /// The next field of a message that ends at `end`.
    fn field(&mut self, end: u64) -> std::io::Result<(u64, Value)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.skip_to(self.at + 8).map(|()| Value::Nothing)?,
            2 => Value::Bytes(self.varint()?),
            // Begin and end of a group: what is in it are fields like others, of which none is known.
            3 | 4 => Value::Nothing,
            5 => self.skip_to(self.at + 4).map(|()| Value::Nothing)?,
            _ => return Err(invalid()),
        };
        let length = if let Value::Bytes(length) = value { length } else { 0 };
        if self.at.checked_add(length).is_none_or(|until| until > end) {
            return Err(invalid());
        }
        Ok((tag >> 3, value))
    }

    fn varint(&mut self) -> std::io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.file.read_exact(&mut byte)?;
            self.at += 1;
            value |= u64::from(byte[0] & 0x7F) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(invalid())
    }

    fn text(&mut self, length: u64) -> std::io::Result<String> {
        if length > LONGEST {
            return Err(invalid());
        }
        let mut text = vec![0; usize::try_from(length).map_err(|_| invalid())?];
        self.file.read_exact(&mut text)?;
        self.at += length;
        String::from_utf8(text).map_err(|_| invalid())
    }

    fn skip_to(&mut self, at: u64) -> std::io::Result<()> {
        let ahead = at.checked_sub(self.at).and_then(|ahead| i64::try_from(ahead).ok()).ok_or_else(invalid)?;
        self.file.seek_relative(ahead)?;
        self.at = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with bytes, as protobuf writes it.
    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut length = content.len();
        while length >= 0x80 {
            field.push(u8::try_from(length & 0x7F).expect("7 bits") | 0x80);
            length >>= 7;
        }
        field.push(u8::try_from(length).expect("7 bits"));
        field.extend(content);
        field
    }

    fn entry(key: &str, value: &str) -> Vec<u8> {
        bytes(13, &[bytes(1, key.as_bytes()), bytes(2, value.as_bytes())].concat())
    }

    fn tensor(location: &str, is_external: u8) -> Vec<u8> {
        [bytes(9, &[7; 300]), entry("location", location), entry("offset", "0"), vec![14 << 3, is_external]].concat()
    }

    fn found(model: &[u8]) -> Result<Vec<DataFile>, ModelError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, model).expect("a file");
        std::fs::create_dir(folder.path().join("weights")).expect("a folder");
        for name in ["a.data", "weights/b.bin"] {
            std::fs::write(folder.path().join(name), name).expect("a file");
        }
        data_files(&path)
    }

    #[test]
    fn data_is_found_wherever_a_tensor_may_lie() {
        let initializer = bytes(7, &bytes(5, &tensor("a.data", 1)));
        // The tensor of a constant, in a branch of a condition.
        let constant = bytes(1, &bytes(5, &bytes(5, &tensor("weights/b.bin", 1))));
        let branch = bytes(7, &bytes(1, &bytes(5, &bytes(6, &constant))));
        let unused = bytes(7, &bytes(5, &tensor("no.data", 0)));
        let producer = bytes(2, b"a producer");
        let files = found(&[producer, initializer, branch, unused].concat()).expect("both are there");
        let locations: Vec<_> = files.iter().map(|file| (file.location.as_str(), file.bytes)).collect();
        assert_eq!(locations, [("a.data", 6), ("weights/b.bin", 13)]);
        assert_eq!(found(b"no model at all").expect("the runtime says so"), []);
        assert_eq!(found(&[0x3A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]).expect("it is cut off"), []);
        // 1 in the 32 bits that an enum has, and halves that are one tensor to protobuf.
        let mut large = tensor("a.data", 0);
        large.pop();
        large.extend([0x81, 0x80, 0x80, 0x80, 0x10]);
        let halves = [bytes(5, &tensor("weights/b.bin", 0)), bytes(5, &[14 << 3, 1])].concat();
        let sly = [bytes(7, &bytes(5, &large)), bytes(7, &bytes(1, &bytes(5, &halves)))].concat();
        assert_eq!(found(&sly).expect("both are there").len(), 2);
        let deep = (0..500).fold(tensor("a.data", 1), |inner, _| bytes(1, &bytes(5, &bytes(6, &inner))));
        assert_eq!(found(&bytes(7, &deep)).expect("deeper than any parser goes"), []);
    }

    #[test]
    fn a_file_outside_the_models_folder_is_refused() {
        for location in ["/etc/passwd", "../a.data", "weights/../../a.data", "..", "", ".", "a\\b", "weights/.."] {
            let error = found(&bytes(7, &bytes(5, &tensor(location, 1)))).expect_err(location).to_string();
            assert!(
                error.contains("outside the model's folder") && error.contains(&format!("{location:?}")),
                "{error}"
            );
        }
        let error = found(&bytes(7, &bytes(5, &tensor("gone.data", 1)))).expect_err("it is not there").to_string();
        assert!(error.contains("\"gone.data\" cannot be read"), "{error}");
        let error = found(&bytes(7, &bytes(5, &tensor("weights", 1)))).expect_err("a folder").to_string();
        assert!(error.contains("\"weights\" is no ordinary file"), "{error}");
    }
}
