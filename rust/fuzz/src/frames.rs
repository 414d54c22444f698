//! A check of the server's output: frames of the server's side of the protocol, byte by byte.

/// Checks that `output` is a sequence of the server's frames, INFO first, and returns their number. With `cut`, the last frame
/// may be incomplete, because the connection was cut.
///
/// # Panics
/// Panics with the bytes from the first one that is not part of a frame.
pub fn check(output: &[u8], cut: bool) -> usize {
    let mut at = 0;
    let mut count = 0;
    while at < output.len() {
        match frame(&output[at..], count == 0) {
            Frame::Whole(len) => {
                at += len;
                count += 1;
            }
            Frame::Cut if cut => return count,
            Frame::Cut => panic!("the output ends within a frame: {}", shown(&output[at..])),
            Frame::Wrong(why) => panic!("{why}: {}", shown(&output[at..])),
        }
    }
    count
}

enum Frame {
    /// A frame of this many bytes.
    Whole(usize),
    /// The beginning of a frame.
    Cut,
    Wrong(&'static str),
}

fn frame(output: &[u8], first: bool) -> Frame {
    let Some(end) = output.windows(2).position(|pair| pair == b"\r\n") else { return Frame::Cut };
    let line = &output[..end];
    let line_len = end + 2;
    if line.iter().any(|b| matches!(b, b'\r' | b'\n')) {
        return Frame::Wrong("half a line end within a line");
    }
    if first && !line.starts_with(b"INFO ") {
        return Frame::Wrong("INFO does not come first");
    }
    if let Some(json) = line.strip_prefix(b"INFO ") {
        return match serde_json::from_slice::<serde_json::Map<_, _>>(json) {
            Ok(_) => Frame::Whole(line_len),
            Err(_) => Frame::Wrong("INFO without an object"),
        };
    }
    if let Some(text) = line.strip_prefix(b"-ERR '") {
        return match text {
            [.., b'\''] => Frame::Whole(line_len),
            _ => Frame::Wrong("-ERR without its quote"),
        };
    }
    if matches!(line, b"PING" | b"PONG" | b"+OK") {
        return Frame::Whole(line_len);
    }
    let with_headers = line.starts_with(b"HMSG ");
    let Some(arguments) = line.strip_prefix(if with_headers { &b"HMSG "[..] } else { b"MSG " }) else {
        return Frame::Wrong("not a frame of the server's side");
    };
    message(output, arguments, with_headers, line_len)
}

/// Checks a message: `<subject> <sid> [reply] [header size] <size>`, with one blank between each.
fn message(output: &[u8], arguments: &[u8], with_headers: bool, line_len: usize) -> Frame {
    let words: Vec<&[u8]> = arguments.split(|&b| b == b' ').collect();
    let sizes = 1 + usize::from(with_headers);
    if !(2..=3).contains(&words.len().saturating_sub(sizes)) || words.iter().any(|word| word.is_empty()) {
        return Frame::Wrong("a message with too few or too many words");
    }
    let sizes: Option<Vec<usize>> = words[words.len() - sizes..].iter().map(|word| number(word)).collect();
    let Some(sizes) = sizes else { return Frame::Wrong("a message without its size") };
    if !sizes.is_sorted() {
        return Frame::Wrong("headers larger than their message");
    }
    let len = line_len + sizes.last().copied().unwrap_or(0);
    match output.get(len..len + 2) {
        Some(b"\r\n") => Frame::Whole(len + 2),
        Some(_) => Frame::Wrong("a message of another size than it says"),
        None => Frame::Cut,
    }
}

fn number(word: &[u8]) -> Option<usize> {
    word.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(word).ok()?.parse().ok()).flatten()
}

fn shown(output: &[u8]) -> String {
    output[..output.len().min(200)].escape_ascii().to_string()
}
