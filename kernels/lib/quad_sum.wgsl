// quad_sum: the sum of a vector's four elements, added up in a fixed order

fn quad_sum(v: vec4f) -> f32 { return v.x + v.y + (v.z + v.w); }
