//! Which provider runs which nodes, as ONNX Runtime says once a session is made.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::ptr;
use std::slice;

use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::{AsPointer, ortsys};

/// ONNX Runtime's key for it (`onnxruntime_session_options_config_keys.h`).
const RECORD: &CStr = c"session.record_ep_graph_assignment_info";

/// Has the session remember it.
///
/// # Errors
/// When the runtime does not take the setting.
pub(super) fn record(builder: &mut SessionBuilder) -> ort::Result<()> {
    let options = builder.ptr_mut();
    // SAFETY: both strings end with a zero and are copied; the options are the builder's, which is borrowed.
    ortsys![unsafe AddSessionConfigEntry(options, RECORD.as_ptr(), c"1".as_ptr())?];
    Ok(())
}

/// Nodes of the session's graph by the runtime's name of the provider that runs them, most first; empty where it does not say.
pub(super) fn nodes(session: &Session) -> Vec<(String, usize)> {
    read(session).unwrap_or_else(|error| {
        tracing::debug!(%error, "ONNX Runtime does not say which provider runs which nodes");
        Vec::new()
    })
}

fn read(session: &Session) -> ort::Result<Vec<(String, usize)>> {
    let (mut graphs, mut count) = (ptr::null(), 0);
    // SAFETY: both are written; what they point to belongs to the session, which outlives this call.
    ortsys![unsafe Session_GetEpGraphAssignmentInfo(session.ptr(), &raw mut graphs, &raw mut count)?];
    let mut nodes = BTreeMap::<String, usize>::new();
    if graphs.is_null() || count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: it is an array of so many pointers, as the call says.
    for &graph in unsafe { slice::from_raw_parts(graphs, count) } {
        let (mut name, mut members, mut count) = (ptr::null(), ptr::null(), 0);
        // SAFETY: a subgraph that the session gave, and variables that are ours; the name ends with a zero.
        let name = unsafe {
            ortsys![unsafe EpAssignedSubgraph_GetEpName(graph, &raw mut name)?];
            ortsys![unsafe EpAssignedSubgraph_GetNodes(graph, &raw mut members, &raw mut count)?];
            CStr::from_ptr(name).to_string_lossy().into_owned()
        };
        *nodes.entry(name).or_default() += count;
    }
    let mut nodes: Vec<(String, usize)> = nodes.into_iter().collect();
    nodes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(nodes)
}
