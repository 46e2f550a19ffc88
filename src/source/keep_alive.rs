//! Keeps RTSP sessions alive. Over TCP, `rtspsrc` of `GStreamer` 1.22 asks its server for something before the session ends only
//! when nothing has come for a second, which never happens while frames come: cameras then close the connection. What extends
//! `rtspsrc` may send requests: one is sent between two packets, on the thread that they come on, which has ended before the
//! connection is closed.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;

use super::outlet::Outlet;
use crate::clock::{Clock, HostTime};

/// The longest time between requests. A session lives for 60 s where its server says nothing else (RFC 2326, 12.37); servers
/// that close it earlier than they say are common, and a request is of a hundred bytes.
const LONGEST_INTERVAL: Duration = Duration::from_secs(10);

glib::wrapper! {
    /// Told of every request of its `rtspsrc`, which makes one for itself.
    pub struct Session(ObjectSubclass<imp::Session>) @extends gst::Element, gst::Object, @implements extension::Extension;
}

thread_local! {
    /// Whose request is being sent on this thread.
    static SENDING: RefCell<Option<Session>> = const { RefCell::new(None) };
}

/// Has every `rtspsrc` that is made from now on watched.
pub(super) fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        // rtspsrc passes over what has no rank. Where this is refused, sessions end as they do without.
        gst::Element::register(None, "streamdetsession", gst::Rank::MARGINAL, Session::static_type()).ok();
    });
}

/// Keeps the session of `rtspsrc` alive.
pub(super) fn keep_alive(rtspsrc: &gst::Element, outlet: &Outlet) {
    let session = Arc::new(OnceLock::<glib::WeakRef<Session>>::new());
    let found = session.clone();
    rtspsrc.connect("before-send", false, move |_| {
        if let Some(sending) = SENDING.with(RefCell::take) {
            found.get_or_init(|| sending.downgrade());
        }
        Some(true.to_value())
    });
    let (clock, guard) = (outlet.clock.clone(), outlet.guard.clone());
    rtspsrc.connect("new-manager", false, move |values| {
        let manager = values.get(1)?.get::<gst::Element>().ok()?;
        let (session, clock, guard) = (session.clone(), clock.clone(), guard.clone());
        manager.connect_pad_added(move |_, pad| {
            if pad.direction() != gst::PadDirection::Sink {
                return;
            }
            let (session, clock, guard) = (session.clone(), clock.clone(), guard.clone());
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                let kept = guard.run("keep-alive", || {
                    if let Some(session) = session.get().and_then(glib::WeakRef::upgrade) {
                        session.keep_alive(&*clock);
                    }
                });
                kept.map_or(gst::PadProbeReturn::Handled, |()| gst::PadProbeReturn::Ok)
            });
        });
        None
    });
}

impl Session {
    /// Sends a request if one is due.
    fn keep_alive(&self, clock: &dyn Clock) {
        let due = self.imp().state().due(clock.now());
        if let Some((method, uri)) = due {
            extension::send(self, method, &uri);
        }
    }
}

/// What is known of a session.
#[derive(Debug, Default)]
struct State {
    /// The server takes `GET_PARAMETER`, which is meant for this.
    has_get_parameter: bool,
    timeout: Option<Duration>,
    /// What is played.
    uri: Option<String>,
    last: Option<HostTime>,
}

/// What keeps a session alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Options,
    GetParameter,
}

impl State {
    /// What a server answers: `Public` and `Session`, as far as they are in the answer.
    fn answered(&mut self, public: Option<&str>, session: Option<&str>) {
        if let Some(public) = public {
            self.has_get_parameter = public.split(',').any(|method| method.trim() == "GET_PARAMETER");
        }
        let stated = session.and_then(|session| {
            let timeout = session.split(';').find_map(|field| field.trim().strip_prefix("timeout="))?;
            timeout.trim().parse().ok().map(Duration::from_secs)
        });
        self.timeout = stated.filter(|timeout| !timeout.is_zero()).or(self.timeout);
    }

    /// It plays `uri` from now on.
    fn plays(&mut self, uri: &str) {
        self.uri = Some(uri.to_owned());
        self.last = None;
    }

    /// What to send now, if anything; half of the timeout after the last, for a request may take its time.
    fn due(&mut self, now: HostTime) -> Option<(Method, String)> {
        let uri = self.uri.as_ref()?;
        let interval = self.timeout.map_or(LONGEST_INTERVAL, |timeout| LONGEST_INTERVAL.min(timeout / 2));
        if now.since(*self.last.get_or_insert(now)) < interval {
            return None;
        }
        self.last = Some(now);
        let method = if self.has_get_parameter { Method::GetParameter } else { Method::Options };
        Some((method, uri.clone()))
    }
}

mod imp {
    use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

    use super::{State, extension, glib, gst};
    use gstreamer::subclass::prelude::*;

    #[derive(Default)]
    pub struct Session(Mutex<State>);

    impl Session {
        pub(super) fn state(&self) -> MutexGuard<'_, State> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Session {
        const NAME: &'static str = "StreamdetSession";
        type Type = super::Session;
        type ParentType = gst::Element;
        type Interfaces = (extension::Extension,);
    }

    impl ObjectImpl for Session {}
    impl GstObjectImpl for Session {}

    impl ElementImpl for Session {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                gst::subclass::ElementMetadata::new(
                    "RTSP session",
                    "Network/Extension/Protocol",
                    "Keeps RTSP sessions alive",
                    "streamdet",
                )
            });
            Some(&METADATA)
        }
    }
}

/// `GstRTSPExtension`, which the bindings do not have.
mod extension {
    use std::ffi::CStr;
    use std::ptr;

    use gstreamer::prelude::*;
    use gstreamer::subclass::prelude::*;
    use gstreamer_rtsp_server::gst_rtsp::ffi;

    use super::{Method, SENDING, Session, glib};

    glib::wrapper! {
        pub struct Extension(Interface<ffi::GstRTSPExtension, ffi::GstRTSPExtensionInterface>);

        match fn {
            type_ => || ffi::gst_rtsp_extension_get_type(),
        }
    }

    // SAFETY: what is set is called with an instance of this very subclass, and with messages that outlive the call.
    unsafe impl IsImplementable<super::imp::Session> for Extension {
        fn interface_init(interface: &mut glib::Interface<Self>) {
            let interface = interface.as_mut();
            interface.before_send = Some(before_send);
            interface.after_send = Some(after_send);
        }
    }

    /// Sends a request in the session, whose answer is passed over by whoever reads the connection.
    pub(super) fn send(session: &Session, method: Method, uri: &str) {
        let method = match method {
            Method::Options => ffi::GST_RTSP_OPTIONS,
            Method::GetParameter => ffi::GST_RTSP_GET_PARAMETER,
        };
        let Ok(uri) = std::ffi::CString::new(uri) else { return };
        let mut request = ptr::null_mut();
        // SAFETY: the request is made here from a text that it copies, and freed here; no answer is asked for (NULL).
        unsafe {
            if ffi::gst_rtsp_message_new_request(&raw mut request, method, uri.as_ptr()) != ffi::GST_RTSP_OK {
                return;
            }
            // Where it cannot be sent, rtspsrc says so on the bus, and the connection has ended.
            ffi::gst_rtsp_extension_send(session.as_ptr().cast(), request, ptr::null_mut());
            ffi::gst_rtsp_message_free(request);
        }
    }

    unsafe extern "C" fn before_send(
        this: *mut ffi::GstRTSPExtension,
        _request: *mut ffi::GstRTSPMessage,
    ) -> ffi::GstRTSPResult {
        // SAFETY: rtspsrc calls this with the instance that it made.
        let session = unsafe { session(this) };
        SENDING.with(|sending| sending.replace(session));
        ffi::GST_RTSP_OK
    }

    unsafe extern "C" fn after_send(
        this: *mut ffi::GstRTSPExtension,
        request: *mut ffi::GstRTSPMessage,
        response: *mut ffi::GstRTSPMessage,
    ) -> ffi::GstRTSPResult {
        let (mut method, mut uri, mut version) = (ffi::GST_RTSP_INVALID, ptr::null(), ffi::GST_RTSP_VERSION_INVALID);
        let (mut code, mut reason) = (ffi::GST_RTSP_STS_INVALID, ptr::null());
        // SAFETY: rtspsrc calls this with the instance that it made, and with a request and its response, which hold what is
        // read of them for as long as the call takes.
        unsafe {
            let Some(session) = session(this) else { return ffi::GST_RTSP_OK };
            ffi::gst_rtsp_message_parse_request(request, &raw mut method, &raw mut uri, &raw mut version);
            ffi::gst_rtsp_message_parse_response(response, &raw mut code, &raw mut reason, &raw mut version);
            if code != ffi::GST_RTSP_STS_OK {
                return ffi::GST_RTSP_OK;
            }
            let header = |field| {
                let mut value = ptr::null_mut();
                let found = ffi::gst_rtsp_message_get_header(response, field, &raw mut value, 0) == ffi::GST_RTSP_OK;
                (found && !value.is_null()).then(|| CStr::from_ptr(value).to_string_lossy().into_owned())
            };
            let [public, stated] = [ffi::GST_RTSP_HDR_PUBLIC, ffi::GST_RTSP_HDR_SESSION].map(header);
            let mut state = session.imp().state();
            state.answered(public.as_deref(), stated.as_deref());
            if method == ffi::GST_RTSP_PLAY && !uri.is_null() {
                state.plays(&CStr::from_ptr(uri).to_string_lossy());
            }
        }
        ffi::GST_RTSP_OK
    }

    /// # Safety
    /// `this` is an instance of what implements the interface.
    unsafe fn session(this: *mut ffi::GstRTSPExtension) -> Option<Session> {
        // SAFETY: as the caller says. Borrowed, since rtspsrc keeps a floating reference, which is not to be taken from it.
        let this: glib::translate::Borrowed<Extension> = unsafe { glib::translate::from_glib_borrow(this) };
        this.downcast_ref().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> HostTime {
        HostTime::from_start(Duration::from_secs(s))
    }

    #[test]
    fn a_session_is_kept_alive_in_half_of_its_time_and_by_what_the_server_takes() {
        let mut state = State::default();
        state.answered(Some("OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"), None);
        state.answered(None, Some("12345678;timeout=6"));
        assert_eq!(state.due(at(100)), None, "nothing plays");
        state.plays("rtsp://h/x");
        state.answered(None, Some("12345678"));
        let options = Some((Method::Options, "rtsp://h/x".to_owned()));
        let sent: Vec<_> = [0, 2, 3, 4, 6].map(|s| state.due(at(100 + s))).into();
        assert_eq!(sent, [None, None, options.clone(), None, options]);
        let mut state = State::default();
        state.answered(Some("OPTIONS,GET_PARAMETER"), Some("1; timeout=0"));
        state.plays("rtsp://h/x");
        let sent = [0, 9, 10].map(|s| state.due(at(s)).map(|(method, _)| method));
        assert_eq!(sent, [None, None, Some(Method::GetParameter)]);
    }
}
