//! How many watch a server at once, and who may: one that is too many is refused, with RTSP's 503, and nobody else notices.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gstreamer as gst;
use gstreamer_rtsp_server as rtsp_server;
use rtsp_server::gst_rtsp::RTSPStatusCode;
use rtsp_server::prelude::*;
use rtsp_server::subclass::prelude::*;
use rtsp_server::{RTSPClient, RTSPContext, RTSPMedia, glib};

/// Connections beyond those of clients that watch: who asks what is here, and who asks for the password. The server itself closes
/// those that do not play after a minute, whatever they send (61 s measured: nothing, half a request, OPTIONS again and again, DESCRIBE).
const SPARE: usize = 32;
/// Who may watch, in the server's own terms.
pub(super) const ROLE: &str = "viewer";

/// What viewers may do with a factory.
pub(super) fn viewers() -> gst::Structure {
    let may = |what| gst::Structure::builder(ROLE).field(what, true);
    may("media.factory.access").field("media.factory.construct", true).build()
}

/// The places of a server, one a client's pipeline.
pub struct Places {
    most: usize,
    taken: Mutex<Vec<Place>>,
    connections: AtomicUsize,
    /// By stream, who is told that somebody is refused.
    told: Mutex<Vec<Told>>,
    refused: AtomicU64,
}

/// A stream's name, and what is called when somebody is refused.
type Told = (String, Box<dyn Fn() + Send>);

struct Place {
    media: glib::WeakRef<RTSPMedia>,
    client: glib::WeakRef<RTSPClient>,
}

impl Places {
    /// So many.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
            connections: AtomicUsize::new(0),
            told: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// How many there are.
    pub fn most(&self) -> usize {
        self.most
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Place>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|place| place.media.upgrade().is_some());
        taken
    }

    /// Whether another pipeline may be made.
    fn is_free(&self) -> bool {
        self.taken().len() < self.most
    }

    fn told(&self) -> MutexGuard<'_, Vec<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first refusal is told to `told`, of the stream of this name; there is none later.
    pub fn tell(&self, name: &str, told: impl Fn() + Send + 'static) {
        if self.refused() == 0 {
            self.told().push((name.to_owned(), Box::new(told)));
        }
    }

    /// The stream of this name is told nothing any more.
    pub fn hush(&self, name: &str) {
        self.told().retain(|(other, _)| other != name);
    }

    /// How many were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn refuse(&self) -> RTSPStatusCode {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some((_, told)) = std::mem::take(&mut *self.told()).first() {
            told();
        }
        RTSPStatusCode::ServiceUnavailable
    }

    /// `media` has a place until it is stopped.
    fn take(self: &Arc<Self>, media: &RTSPMedia) {
        let client = RTSPContext::with_current_context(|context| context.client().map(ObjectExt::downgrade)).flatten();
        let this = Arc::downgrade(self);
        media.connect_unprepared(move |media| {
            if let Some(places) = this.upgrade() {
                places.taken().retain(|place| place.media.upgrade().is_some_and(|other| other != *media));
            }
        });
        self.taken().push(Place { media: media.downgrade(), client: client.unwrap_or_default() });
    }

    /// Refuses `client` a description where there is no place for it.
    fn may_describe(&self, client: &RTSPClient) -> bool {
        let taken = self.taken();
        taken.len() < self.most || taken.iter().any(|place| place.client.upgrade().as_ref() == Some(client))
    }

    /// Has those who connect to `server` refused where there is no place.
    pub fn watch(self: &Arc<Self>, server: &rtsp_server::RTSPServer) {
        let places = self.clone();
        server.connect_client_connected(move |_, client| {
            let before = places.connections.fetch_add(1, Ordering::Relaxed);
            let counted = places.clone();
            client.connect_closed(move |_| {
                counted.connections.fetch_sub(1, Ordering::Relaxed);
            });
            if before >= places.most + SPARE {
                places.refuse();
                // The server, which is not done with it, complains of one that is closed now.
                let client = client.clone();
                let close = glib::idle_source_new(None, glib::Priority::DEFAULT, move || {
                    client.close();
                    glib::ControlFlow::Break
                });
                close.attach(glib::main_current_source().and_then(|source| source.context()).as_ref());
                return;
            }
            let places = places.clone();
            client.connect_pre_describe_request(move |client, _| {
                if places.may_describe(client) { RTSPStatusCode::Ok } else { places.refuse() }
            });
        });
    }
}

glib::wrapper! {
    /// Makes clients' pipelines, as long as there are places.
    pub struct Factory(ObjectSubclass<imp::Factory>) @extends rtsp_server::RTSPMediaFactory;
}

impl Factory {
    /// For a server with these places; with an `auth`, for who has its role.
    pub fn new(places: &Arc<Places>, has_auth: bool) -> Self {
        let factory: Self = glib::Object::new();
        // Only just made: there are none yet.
        let _ = factory.imp().places.set(places.clone());
        if has_auth {
            factory.add_role_from_structure(&viewers());
        }
        factory
    }
}

mod imp {
    use std::sync::OnceLock;

    use rtsp_server::gst_rtsp::RTSPUrl;

    use super::{Arc, Places, RTSPMedia, glib, rtsp_server};
    use rtsp_server::subclass::prelude::*;

    #[derive(Default)]
    pub struct Factory {
        pub places: OnceLock<Arc<Places>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Factory {
        const NAME: &'static str = "StreamdetMediaFactory";
        type Type = super::Factory;
        type ParentType = rtsp_server::RTSPMediaFactory;
    }

    impl ObjectImpl for Factory {}

    impl RTSPMediaFactoryImpl for Factory {
        /// A description was refused before; who sets up without one gets the server's own refusal.
        fn construct(&self, url: &RTSPUrl) -> Option<RTSPMedia> {
            let places = self.places.get().filter(|places| places.is_free())?;
            let media = self.parent_construct(url)?;
            places.take(&media);
            Some(media)
        }
    }
}
