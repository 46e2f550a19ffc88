//! ONNX files are protobuf: just enough of it to write one.

/// A field with bytes in it.
pub fn field(number: usize, content: &[u8]) -> Vec<u8> {
    let mut field = vec![u8::try_from(number << 3 | 2).expect("a small number")];
    let mut length = content.len();
    while length >= 0x80 {
        field.push(u8::try_from(length & 0x7F).expect("7 bits") | 0x80);
        length >>= 7;
    }
    field.push(u8::try_from(length).expect("7 bits"));
    field.extend(content);
    field
}
