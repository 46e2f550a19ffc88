//! Names of an RTSP server's streams. Where a password is asked for, it is asked for names that are not there as well: the server
//! itself says 404 before 401, and so tells anybody what there is.

use gstreamer_rtsp_server as rtsp_server;
use rtsp_server::prelude::*;
use rtsp_server::subclass::prelude::*;
use rtsp_server::{RTSPMediaFactory, RTSPMountPoints, RTSPServer, glib};

use super::admission::viewers;

/// What stands for all names that are not there.
const NOWHERE: &str = "/\u{1}";

glib::wrapper! {
    /// Names of which nobody knows whether they are there, but who has the password.
    pub struct HiddenNames(ObjectSubclass<imp::HiddenNames>) @extends RTSPMountPoints;
}

glib::wrapper! {
    /// Makes nothing, for who may watch: the server says 400 then, after the password.
    pub struct Nothing(ObjectSubclass<imp::Nothing>) @extends RTSPMediaFactory;
}

impl HiddenNames {
    /// Hides the names of `server`.
    pub fn of(server: &RTSPServer) {
        let names: Self = glib::Object::new();
        let nothing: Nothing = glib::Object::new();
        nothing.add_role_from_structure(&viewers());
        names.add_factory(NOWHERE, nothing);
        server.set_mount_points(Some(&names));
    }
}

/// Serves `factory` as `name`.
pub fn add(server: &RTSPServer, name: &str, factory: &impl IsA<RTSPMediaFactory>) {
    let Some(points) = server.mount_points() else { return };
    points.add_factory(name, factory.clone());
    if let Some(hidden) = points.downcast_ref::<HiddenNames>() {
        hidden.imp().names().push(name.to_owned());
    }
}

/// Serves `name` no more.
pub fn remove(server: &RTSPServer, name: &str) {
    let Some(points) = server.mount_points() else { return };
    if let Some(hidden) = points.downcast_ref::<HiddenNames>() {
        hidden.imp().names().retain(|other| other != name);
    }
    points.remove_factory(name);
}

mod imp {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use rtsp_server::gst_rtsp::RTSPUrl;
    use rtsp_server::subclass::prelude::*;
    use rtsp_server::{RTSPMedia, RTSPMediaFactory, RTSPMountPoints};

    use super::{NOWHERE, glib, rtsp_server};

    #[derive(Default)]
    pub struct HiddenNames {
        names: Mutex<Vec<String>>,
    }

    impl HiddenNames {
        pub fn names(&self) -> MutexGuard<'_, Vec<String>> {
            self.names.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    #[glib::object_subclass]
    impl ObjectSubclass for HiddenNames {
        const NAME: &'static str = "StreamdetHiddenNames";
        type Type = super::HiddenNames;
        type ParentType = RTSPMountPoints;
    }

    impl ObjectImpl for HiddenNames {}

    impl RTSPMountPointsImpl for HiddenNames {
        fn make_path(&self, url: &RTSPUrl) -> Option<glib::GString> {
            let path = self.parent_make_path(url)?;
            // A track's control address lies below its stream's.
            let is_of =
                |name: &String| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            let is_there = self.names().iter().any(is_of);
            Some(if is_there { path } else { NOWHERE.into() })
        }
    }

    #[derive(Default)]
    pub struct Nothing;

    #[glib::object_subclass]
    impl ObjectSubclass for Nothing {
        const NAME: &'static str = "StreamdetNothing";
        type Type = super::Nothing;
        type ParentType = RTSPMediaFactory;
    }

    impl ObjectImpl for Nothing {}

    impl RTSPMediaFactoryImpl for Nothing {
        fn construct(&self, _: &RTSPUrl) -> Option<RTSPMedia> {
            None
        }
    }
}
