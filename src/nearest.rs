//! What was probably meant.

/// The one of `among` that resembles `name` most.
#[must_use]
pub fn nearest<T: AsRef<str>>(name: &str, among: impl IntoIterator<Item = T>) -> Option<T> {
    let near = |other: &T| strsim::jaro_winkler(other.as_ref(), name);
    among.into_iter().max_by(|a, b| near(a).total_cmp(&near(b)))
}
