//! One row a frame, comma separated (`--csv`).

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use crate::clock::HostTime;
use crate::latency::{FrameRecord, STAGES};
use crate::part::PartFile;
use crate::shutdown::Shutdown;

/// Bytes gathered before they are written, and how long they wait for that at most.
const BUFFER: usize = 64 << 10;
const FLUSH: Duration = Duration::from_secs(1);

/// The file of rows. A row of a frame that did not pass a stage has nothing there.
pub struct CsvFile {
    out: BufWriter<PartFile>,
    line: Vec<u8>,
    flushed: HostTime,
    failed: Option<std::io::Error>,
}

impl CsvFile {
    /// Creates the file and writes its head.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path, stopping: &Shutdown) -> std::io::Result<Self> {
        let out = BufWriter::with_capacity(BUFFER, PartFile::create(path, Some(stopping))?);
        let mut this = Self { out, line: Vec::with_capacity(256), flushed: HostTime::default(), failed: None };
        this.line.extend_from_slice(b"stream,frame,pts_ns,handed_over_ms,");
        for stage in STAGES {
            // Memory takes all text.
            let _ = write!(this.line, "{}_ms,", stage.key());
        }
        this.line.extend_from_slice(b"batch_size,detections\n");
        this.end_line();
        Ok(this)
    }

    /// Writes a frame's row; an error shows at the end.
    pub fn row(&mut self, record: &FrameRecord) {
        let times = record.times();
        self.line.clear();
        // Memory takes all text.
        let _ = write!(self.line, "{},{},{},", record.stream.0, record.frame, record.pts.ns);
        self.ms(record.stamps.handed_over.since_start());
        for stage in STAGES {
            if let Some(elapsed) = times.get(stage) {
                self.ms(elapsed);
            } else {
                self.line.push(b',');
            }
        }
        // Memory takes all text.
        let _ = writeln!(self.line, "{},{}", record.stamps.batch_size, record.detections);
        self.end_line();
        let now = record.stamps.handed_over;
        if self.failed.is_none() && now.since(self.flushed) > FLUSH {
            self.flushed = now;
            self.failed = self.out.flush().err();
        }
    }

    /// To the nanosecond: the rows inside `end_to_end` sum to it here as well.
    fn ms(&mut self, elapsed: std::time::Duration) {
        let ns = elapsed.as_nanos();
        // Memory takes all text.
        let _ = write!(self.line, "{}.{:06},", ns / 1_000_000, ns % 1_000_000);
    }

    fn end_line(&mut self) {
        if self.failed.is_none() {
            self.failed = self.out.write_all(&self.line).err();
        }
    }

    /// Removes the file.
    pub fn discard(self) {
        self.out.into_parts().0.discard();
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When anything could not be written.
    pub fn finish(mut self) -> std::io::Result<()> {
        if let Some(error) = self.failed.take() {
            // What waits in the buffer would fail again.
            let _ = self.out.into_parts();
            return Err(error);
        }
        self.out.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::tests::frame_at;

    #[test]
    fn a_row_has_every_stage_to_the_nanosecond() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("frames.csv");
        let mut file = CsvFile::create(&path, &Shutdown::new()).expect("a file");
        file.row(&frame_at(40));
        assert!(!path.exists());
        file.finish().expect("written");
        let text = std::fs::read_to_string(&path).expect("rows");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "stream,frame,pts_ns,handed_over_ms,decode_ms,queue_wait_ms,batch_wait_ms,preprocess_ms,inference_ms,\
                 postprocess_ms,track_ms,overlay_ms,hand_over_ms,encode_ms,end_to_end_ms,behind_live_ms,\
                 capture_to_display_ms,batch_size,detections",
                "0,40,40000000,64.000000,3.000000,2.000000,1.000000,1.000000,10.000000,1.000000,,2.000000,4.000000,\
                 7.000000,21.000000,,,2,2",
            ]
        );
    }

    #[test]
    fn a_full_disk_is_an_error_at_the_end() {
        let mut file = CsvFile::create(Path::new("/dev/full"), &Shutdown::new()).expect("a device");
        for n in 0..2000 {
            file.row(&frame_at(n));
        }
        let error = file.finish().expect_err("no space");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }
}
