//! TensorBoard event files: records of `Event` protobufs, each framed as
//! `length u64 | masked crc32c of length u32 | bytes | masked crc32c of bytes u32`, little-endian (TFRecord).
//!
//! Written here because the crates for it drag in old advisories; TensorBoard reads the folder `events/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use prost::Message;

use super::{Error, file_error, lines::append};

/// `tensorflow.Event`, the fields in use.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

/// `tensorflow.SessionLog`.
#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    /// [`SESSION_START`]: what other files of the folder hold from this step on belongs to steps that are done again.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionLog.SessionStatus.START`.
const SESSION_START: i32 = 1;

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `tensorflow.Summary.Value`, scalars only.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// An event file that grows.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: fs::File,
    bytes: u64,
}

impl EventFile {
    /// A new file in `folder`; TensorBoard joins the files of a run, so that a resumed run starts one more, at `step`.
    /// `wall_time`: seconds since 1970.
    pub fn create(folder: &Path, wall_time: f64, step: u64) -> Result<Self, Error> {
        let name = format!("events.out.tfevents.{:.0}.{}", wall_time, std::process::id());
        let path = folder.join(name);
        let mut options = fs::OpenOptions::new();
        let file = options.create(true).append(true).open(&path).map_err(file_error("create", &path))?;
        file.set_len(0).map_err(file_error("create", &path))?;
        let mut events = Self { path, file, bytes: 0 };
        let version = Some("brain.Event:2".to_owned());
        events.write(&Event { wall_time, file_version: version, ..Event::default() })?;
        if step > 0 {
            let session_log = Some(SessionLog { status: SESSION_START });
            events.write(&Event { wall_time, step: step as i64, session_log, ..Event::default() })?;
        }
        Ok(events)
    }

    /// Adds scalars of one step, or nothing, e.g. `("evaluation/total", 6.2)`.
    pub fn scalars(&mut self, wall_time: f64, step: u64, scalars: &[(String, f64)]) -> Result<(), Error> {
        let value =
            |(tag, value): &(String, f64)| Value { tag: tag.clone(), simple_value: Some(*value as f32) };
        let summary = Summary { value: scalars.iter().map(value).collect() };
        self.write(&Event { wall_time, step: step as i64, summary: Some(summary), ..Event::default() })
    }

    fn write(&mut self, event: &Event) -> Result<(), Error> {
        let frame = frame(&event.encode_to_vec());
        append(&mut self.file, &mut self.bytes, &frame).map_err(file_error("write", &self.path))
    }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut frame = length.to_vec();
    frame.extend(masked_crc(&length).to_le_bytes());
    frame.extend(bytes);
    frame.extend(masked_crc(bytes).to_le_bytes());
    frame
}

/// The masked CRC of TFRecord: a CRC of bytes that hold CRCs would be weak.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_frame_by_frame() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path(), 1.5e9, 5).unwrap();
        events.scalars(1.5e9, 7, &[("a/b".to_owned(), 0.5)]).unwrap();
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let mut bytes = &fs::read(path).unwrap()[..];
        let mut read = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_at(8);
            assert_eq!(rest[..4], masked_crc(length).to_le_bytes());
            let n = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let body = &rest[4..4 + n];
            assert_eq!(rest[4 + n..8 + n], masked_crc(body).to_le_bytes());
            read.push(Event::decode(body).unwrap());
            bytes = &rest[8 + n..];
        }
        assert_eq!(read[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!((read[1].step, read[1].session_log.as_ref().unwrap().status), (5, SESSION_START));
        let value = &read[2].summary.as_ref().unwrap().value[0];
        assert_eq!((read[2].step, value.tag.as_str(), value.simple_value), (7, "a/b", Some(0.5)));
    }

    #[test]
    fn the_mask_agrees_with_the_published_value() {
        // CRC-32C of "123456789" is 0xe3069283.
        assert_eq!(masked_crc(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }
}
