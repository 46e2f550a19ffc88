//! Memory that holds nothing of what was in it before.
//!
//! Decoders leave parts of a damaged image unwritten. What lay there would be in the answer: another client's image, perhaps.

use std::sync::OnceLock;

use gstreamer as gst;
use gstreamer::glib;

mod imp {
    use gstreamer as gst;
    use gstreamer::glib;
    use gstreamer::glib::translate::IntoGlibPtr;
    use gstreamer::prelude::*;
    use gstreamer::subclass::prelude::*;

    #[derive(Default)]
    pub struct Zeroed;

    #[glib::object_subclass]
    impl ObjectSubclass for Zeroed {
        const NAME: &'static str = "StreamdetZeroed";
        type Type = super::Zeroed;
        type ParentType = gst::Allocator;
    }

    impl ObjectImpl for Zeroed {}
    impl GstObjectImpl for Zeroed {}

    // SAFETY: what is allocated is the system allocator's memory, which frees it as well.
    unsafe impl AllocatorImpl for Zeroed {
        unsafe fn alloc(&self, size: usize, params: &gst::AllocationParams) -> *mut gst::ffi::GstMemory {
            let memory =
                gst::Allocator::find(Some("SystemMemory")).and_then(|system| system.alloc(size, Some(params)).ok());
            let Some(mut memory) = memory else { return std::ptr::null_mut() };
            match memory.get_mut().and_then(|memory| memory.map_writable().ok()) {
                Some(mut bytes) => bytes.fill(0),
                None => return std::ptr::null_mut(),
            }
            memory.into_glib_ptr()
        }
    }
}

glib::wrapper! {
    /// The system's memory, filled with zeros.
    pub struct Zeroed(ObjectSubclass<imp::Zeroed>) @extends gst::Allocator, gst::Object;
}

/// The one of the process.
pub(super) fn zeroed() -> &'static gst::Allocator {
    static ONE: OnceLock<gst::Allocator> = OnceLock::new();
    ONE.get_or_init(|| gst::prelude::Cast::upcast(glib::Object::new::<Zeroed>()))
}

#[cfg(test)]
mod tests {
    use gstreamer::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_left_of_what_was_there_before() {
        gst::init().expect("GStreamer");
        let params = gst::AllocationParams::new(gst::MemoryFlags::empty(), 31, 16, 16);
        for _ in 0..50 {
            let memory = zeroed().alloc(5000, Some(&params)).expect("memory");
            let mut bytes = memory.into_mapped_memory_writable().expect("it can be written");
            assert!(bytes.len() == 5000 && bytes.iter().all(|byte| *byte == 0));
            bytes.fill(0xAA);
        }
    }
}
