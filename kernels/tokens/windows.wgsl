// windows: the pixels of an axis of `size` that belong to element i of `count`

fn window_start(i: u32, size: u32, count: u32) -> u32 { return i * size / count; }

// One beyond the last pixel.
fn window_end(i: u32, size: u32, count: u32) -> u32 { return ((i + 1u) * size + count - 1u) / count; }
