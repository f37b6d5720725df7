#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| posture_feed_fuzz::targets::increment(bytes));
