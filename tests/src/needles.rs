//! Byte strings that must not be found → where they were found.

use std::collections::HashMap;
use std::path::Path;

/// The byte strings to search for. Each has at least eight bytes.
#[derive(Debug)]
pub struct Needles {
    /// By their first eight bytes, as a number.
    by_start: HashMap<u64, Vec<(String, Vec<u8>)>>,
    /// A bit for a hash of each first eight bytes, to skip other positions quickly.
    filter: Vec<u64>,
}

const FILTER_BITS: u32 = 22;

fn bit(start: u64) -> (usize, u64) {
    let hash = start.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - FILTER_BITS);
    ((hash / 64) as usize, 1 << (hash % 64))
}

impl Default for Needles {
    fn default() -> Self {
        Self { by_start: HashMap::new(), filter: vec![0; 1 << (FILTER_BITS - 6)] }
    }
}

impl Needles {
    /// Adds a byte string with a name. Ignores it if it is shorter than eight bytes.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        let Some(start) = bytes.first_chunk().map(|first| u64::from_be_bytes(*first)) else { return };
        let (word, mask) = bit(start);
        self.filter[word] |= mask;
        self.by_start.entry(start).or_default().push((name.to_owned(), bytes.to_vec()));
    }

    /// Adds eight bytes in every form in which they may be stored: raw and reversed, as hexadecimal digits,
    /// and as the decimal digits of a number.
    pub fn add_id(&mut self, name: &str, id: [u8; 8]) {
        let mut turned = id;
        turned.reverse();
        for (form, id) in [("", id), (", turned round", turned)] {
            let number = i64::from_be_bytes(id);
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            self.add(&format!("{name}{form}"), &id);
            self.add(&format!("{name} in hexadecimal{form}"), hex.as_bytes());
            self.add(&format!("{name} in hexadecimal{form}"), hex.to_uppercase().as_bytes());
            for decimal in [number.to_string(), (number as u64).to_string()] {
                // A short number may mean anything.
                if decimal.len() >= 14 {
                    self.add(&format!("{name} in decimal{form}"), decimal.as_bytes());
                }
            }
        }
    }

    /// The names of what is in `haystack`, each once.
    pub fn find(&self, haystack: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        let mut start = 0;
        for (at, byte) in haystack.iter().enumerate() {
            start = start << 8 | u64::from(*byte);
            let (word, mask) = bit(start);
            if at < 7 || self.filter[word] & mask == 0 {
                continue;
            }
            for (name, bytes) in self.by_start.get(&start).into_iter().flatten() {
                if haystack[at - 7..].starts_with(bytes) && !found.contains(name) {
                    found.push(name.clone());
                }
            }
        }
        found
    }

    /// What is in the files below `folder`, with the file.
    ///
    /// # Errors
    /// If the folder cannot be read. Skips a file that disappears meanwhile.
    pub fn find_below(&self, folder: &Path) -> std::io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(bytes) = std::fs::read(&path) {
                    found.extend(
                        self.find(&bytes).into_iter().map(|name| format!("{name} in {}", path.display())),
                    );
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_found_in_every_form() {
        let id = [0x19, 0xa1, 0x24, 0xbd, 0x2f, 0x89, 0xed, 0xfe];
        let mut needles = Needles::default();
        needles.add_id("id", id);
        for text in ["19a124bd2f89edfe", "\\x19A124BD2F89EDFE", "1846797717163601406", "feed892fbd24a119"] {
            assert_eq!(needles.find(format!("before {text} after").as_bytes()).len(), 1, "{text}");
        }
        assert_eq!(needles.find(&[&[0; 3], &id[..], &[9]].concat()), ["id"]);
        assert_eq!(needles.find(b"19a124bd2f89edf and nothing else"), Vec::<String>::new());
    }
}
