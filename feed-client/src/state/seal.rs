//! What tells that a file of JSON is the one that was written: a bit that flips in a number leaves JSON, and another floor.

use bundles::Digest;
use serde_json::Value;

/// The SHA-256 of everything else in the file, as compact JSON with the keys in order.
const SEAL: &str = "sha256";

/// The bytes of a file that says `value`, which is an object, and that it was written so.
pub(super) fn sealed(mut value: Value) -> Vec<u8> {
    let seal = Digest::of(value.to_string().as_bytes()).to_string();
    value[SEAL] = Value::String(seal);
    serde_json::to_vec_pretty(&value).unwrap_or_default()
}

/// What a file says, unless it says itself that it was written otherwise. Earlier clients wrote no seal; a seal under another
/// name is one whose name was damaged, since nothing else at the top of a state is a digest.
pub(super) fn opened(bytes: &[u8]) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    let said = value.as_object_mut()?;
    match said.remove(SEAL) {
        Some(seal) => (seal == Digest::of(value.to_string().as_bytes()).to_string().as_str()).then_some(value),
        None => (!said.values().any(is_seal)).then_some(value),
    }
}

fn is_seal(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<Digest>().is_ok())
}
