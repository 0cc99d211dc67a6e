//! Turns the beginning of a GGUF file into its metadata and the places of its tensors.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. candle has a reader of its own; it keeps the last of two
//! entries of one name, divides by an alignment of 0 and takes 32 bytes of memory for one of the file.
//!
//! # Invariants
//! What the file says of itself is held against the file: no count, length or offset makes room for more than there are
//! bytes to read, and none overflows.

use super::super::config::Fields;
use super::super::weights::{file_error, unreadable};
use crate::base::file;
use crate::model::ModelError;
use candle_core::quantized::GgmlDType;
use serde_json::{Map, Number, Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Metadata and the list of tensors; the largest vocabularies take a tenth.
const MOST_HEADER: u64 = 1 << 27;
/// ggml has no more, and a decoder none above two.
const MOST_DIMS: u32 = 4;
/// No product of a few dimensions of such size overflows 64 bits unseen.
const LARGEST_DIM: u64 = 1 << 31;

/// What a tensor may be kept in, by the format's number.
const KINDS: [(u32, GgmlDType); 13] = [
    (0, GgmlDType::F32),
    (1, GgmlDType::F16),
    (30, GgmlDType::BF16),
    (2, GgmlDType::Q4_0),
    (3, GgmlDType::Q4_1),
    (6, GgmlDType::Q5_0),
    (7, GgmlDType::Q5_1),
    (8, GgmlDType::Q8_0),
    (10, GgmlDType::Q2K),
    (11, GgmlDType::Q3K),
    (12, GgmlDType::Q4K),
    (13, GgmlDType::Q5K),
    (14, GgmlDType::Q6K),
];

/// Other types, so that a refusal can name them.
const FOREIGN: [(u32, &str); 22] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
    (42, "Q2_0"),
];
const SUPPORTED: &str = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K";

/// Where a tensor lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Row-major: the format lists them the other way round.
    pub dims: Vec<usize>,
    pub kind: GgmlDType,
    /// From the beginning of the file.
    start: u64,
    bytes: u64,
}

#[derive(Debug)]
pub struct Header {
    path: PathBuf,
    /// Names the file in messages.
    name: String,
    /// Numbers, truth values and texts by key. A list is a word here, so that it passes for none of them.
    scalars: Map<String, Value>,
    texts: BTreeMap<String, Vec<String>>,
    numbers: BTreeMap<String, Vec<f32>>,
    pub tensors: BTreeMap<String, Place>,
}

impl Header {
    /// # Errors
    /// A file that is none, ends early, says two things, or has a tensor that overlaps another, lies outside or is of a
    /// type that cannot be read.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let name = path.display().to_string();
        let input = file::open(path).map_err(|error| unreadable(path, &error))?;
        let length = input.metadata().map_err(|error| unreadable(path, &error))?.len();
        let mut reader = Reader { input: BufReader::new(input), left: length.min(MOST_HEADER), length };
        let mut header = Self {
            path: path.to_owned(),
            name: name.clone(),
            scalars: Map::new(),
            texts: BTreeMap::new(),
            numbers: BTreeMap::new(),
            tensors: BTreeMap::new(),
        };
        match header.read(&mut reader) {
            Ok(()) => Ok(header),
            Err(problem) => Err(file_error(&name, problem)),
        }
    }

    fn read(&mut self, reader: &mut Reader) -> Result<(), String> {
        if reader.array()? != *b"GGUF" {
            return Err("is not a GGUF file".to_owned());
        }
        match reader.u32()? {
            2 | 3 => {}
            other => return Err(format!("is GGUF of version {other}; supported: 2, 3")),
        }
        let (tensors, entries) = (reader.u64()?, reader.u64()?);
        for _ in 0..entries {
            let key = reader.text("a key")?;
            let value = self.value(reader, &key)?;
            if self.scalars.insert(key.clone(), value).is_some() {
                return Err(format!("has `{key}` twice"));
            }
        }
        let mut begun = Vec::new();
        for _ in 0..tensors {
            let name = reader.text("a tensor's name")?;
            let place = place(reader, &name)?;
            begun.push((place.start, name.clone()));
            if self.tensors.insert(name.clone(), place).is_some() {
                return Err(format!("has the tensor `{name}` twice"));
            }
        }
        self.lay(reader, begun)
    }

    /// Holds the tensors against the file.
    fn lay(&mut self, reader: &Reader, mut begun: Vec<(u64, String)>) -> Result<(), String> {
        let alignment = match self.scalars.get("general.alignment") {
            None => 32,
            Some(value) => match value.as_u64() {
                Some(alignment) if alignment.is_power_of_two() && alignment <= 1 << 20 => alignment,
                _ => return Err(format!("`general.alignment` is {value}, not a power of two up to {}", 1 << 20)),
            },
        };
        let data = reader.position().next_multiple_of(alignment);
        begun.sort_unstable();
        let mut before: Option<(String, u64)> = None;
        for (_, name) in begun {
            let place = self.tensors.get_mut(&name).expect("it was put there");
            let end = place.start.checked_add(data).and_then(|start| start.checked_add(place.bytes));
            let end = end.filter(|end| *end <= reader.length);
            let end = end.ok_or_else(|| {
                format!("is not a whole GGUF file: tensor `{name}` would end behind its {} bytes", reader.length)
            })?;
            place.start += data;
            if let Some((other, _)) = before.filter(|(_, end)| *end > place.start) {
                return Err(format!("tensor `{name}` lies over `{other}`"));
            }
            before = Some((name, end));
        }
        Ok(())
    }

    /// A value; one that is a list is kept apart, if it is one that a model could need.
    fn value(&mut self, reader: &mut Reader, key: &str) -> Result<Value, String> {
        let kind = reader.u32()?;
        if kind != 9 {
            return reader.scalar(kind, key);
        }
        let (kind, count) = (reader.u32()?, reader.u64()?);
        match kind {
            8 => {
                let texts = (0..count).map(|_| reader.text(&format!("`{key}`"))).collect::<Result<_, _>>()?;
                self.texts.insert(key.to_owned(), texts);
            }
            // Scores and the kinds of tokens.
            4..=6 => {
                let number = |value: Value| value.as_f64().map_or(f32::NAN, |value| value as f32);
                let numbers = (0..count).map(|_| reader.scalar(kind, key).map(number)).collect::<Result<_, _>>()?;
                self.numbers.insert(key.to_owned(), numbers);
            }
            0..=3 | 7 | 10..=12 => {
                let size = match kind {
                    0 | 1 | 7 => 1,
                    2 | 3 => 2,
                    _ => 8,
                };
                reader.skip(count.checked_mul(size).ok_or(ENDS)?)?;
            }
            _ => return Err(format!("`{key}` is a list of values of the kind {kind}, which is not supported")),
        }
        Ok(json!("a list"))
    }

    /// Its numbers, truth values and texts.
    pub fn fields(&self) -> Fields<'_> {
        Fields { path: &self.name, map: &self.scalars }
    }

    pub fn wrong(&self, field: &str, problem: impl Into<String>) -> ModelError {
        self.fields().wrong(field, problem)
    }

    /// A text that must be there.
    pub fn text(&self, key: &str) -> Result<&str, ModelError> {
        match self.scalars.get(key) {
            None => Err(self.wrong(key, "is missing")),
            Some(value) => value.as_str().ok_or_else(|| self.wrong(key, format!("is {value}, not a text"))),
        }
    }

    pub fn texts(&self, key: &str) -> Result<&[String], ModelError> {
        self.list(key, &self.texts)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    pub fn numbers(&self, key: &str) -> Result<Option<&[f32]>, ModelError> {
        self.list(key, &self.numbers)
    }

    fn list<'a, T>(&self, key: &str, lists: &'a BTreeMap<String, Vec<T>>) -> Result<Option<&'a [T]>, ModelError> {
        match lists.get(key) {
            Some(list) => Ok(Some(list)),
            None if self.scalars.contains_key(key) => Err(self.wrong(key, "is not the list that it should be")),
            None => Ok(None),
        }
    }

    /// The bytes of a tensor.
    pub fn bytes(&self, place: &Place) -> Result<Vec<u8>, ModelError> {
        let read = || {
            let mut file: File = file::open(&self.path)?;
            file.seek(SeekFrom::Start(place.start))?;
            // As long as the file when it was looked at.
            let mut bytes = vec![0; place.bytes as usize];
            file.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| unreadable(&self.path, &error))
    }
}

fn place(reader: &mut Reader, name: &str) -> Result<Place, String> {
    let count = reader.u32()?;
    if !(1..=MOST_DIMS).contains(&count) {
        return Err(format!("tensor `{name}` has {count} dimensions"));
    }
    let mut dims = Vec::new();
    for _ in 0..count {
        match reader.u64()? {
            dim @ 1..LARGEST_DIM => dims.push(dim as usize),
            dim => return Err(format!("tensor `{name}` has a dimension of {dim}")),
        }
    }
    let number = reader.u32()?;
    let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == number) else {
        let foreign = FOREIGN.iter().find(|(known, _)| *known == number).map(|(_, name)| (*name).to_owned());
        let kind = foreign.unwrap_or_else(|| format!("number {number}"));
        return Err(format!("tensor `{name}` has the type {kind}; supported: {SUPPORTED}"));
    };
    let block = kind.block_size();
    if !dims[0].is_multiple_of(block) {
        let problem = format!("has rows of {}, which blocks of {block} do not fill", dims[0]);
        return Err(format!("tensor `{name}` {problem}"));
    }
    let blocks = dims.iter().try_fold(1u64, |all, dim| all.checked_mul(*dim as u64)).map(|all| all / block as u64);
    let bytes = blocks.and_then(|blocks| blocks.checked_mul(kind.type_size() as u64));
    let bytes = bytes.ok_or_else(|| format!("tensor `{name}` has more values than there are"))?;
    dims.reverse();
    Ok(Place { dims, kind: *kind, start: reader.u64()?, bytes })
}

const ENDS: &str = "is not a whole GGUF file: it ends, or goes on for too long, before its tensors begin";

struct Reader {
    input: BufReader<File>,
    /// Bytes that may be read still.
    left: u64,
    /// Of the file.
    length: u64,
}

impl Reader {
    fn position(&self) -> u64 {
        self.length.min(MOST_HEADER) - self.left
    }

    fn take(&mut self, count: u64) -> Result<(), String> {
        self.left = self.left.checked_sub(count).ok_or(ENDS)?;
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N as u64)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|_| ENDS)?;
        Ok(bytes)
    }

    fn skip(&mut self, count: u64) -> Result<(), String> {
        self.take(count)?;
        self.input.seek_relative(count as i64).map_err(|_| ENDS.to_owned())
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self, what: &str) -> Result<String, String> {
        let length = self.u64()?;
        self.take(length)?;
        let mut bytes = vec![0; length as usize];
        self.input.read_exact(&mut bytes).map_err(|_| ENDS)?;
        String::from_utf8(bytes).map_err(|_| format!("{what} is not UTF-8 text"))
    }

    fn scalar(&mut self, kind: u32, key: &str) -> Result<Value, String> {
        Ok(match kind {
            0 => json!(self.array::<1>()?[0]),
            1 => json!(i8::from_le_bytes(self.array()?)),
            2 => json!(u16::from_le_bytes(self.array()?)),
            3 => json!(i16::from_le_bytes(self.array()?)),
            4 => json!(self.u32()?),
            5 => json!(i32::from_le_bytes(self.array()?)),
            6 => {
                let value = f32::from_le_bytes(self.array()?);
                // As it was written before it was f32: 1e-5, not 9.99999974737875e-6.
                real(value.to_string().parse().unwrap_or(f64::NAN))
            }
            7 => match self.array()? {
                [0] => json!(false),
                [1] => json!(true),
                [other] => return Err(format!("`{key}` is {other}, neither true nor false")),
            },
            8 => json!(self.text(&format!("`{key}`"))?),
            10 => json!(self.u64()?),
            11 => json!(i64::from_le_bytes(self.array()?)),
            12 => real(f64::from_le_bytes(self.array()?)),
            other => return Err(format!("`{key}` is a value of the kind {other}, which the format does not have")),
        })
    }
}

/// JSON has no infinities: they are told as words.
fn real(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| json!(value.to_string()), Value::Number)
}
