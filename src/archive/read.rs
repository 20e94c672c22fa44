//! From stored bytes to plain ones.

use super::cipher::{self, Passphrase};
use super::codec::{self, Buffers, Codec, MAGIC_BYTES};
use super::layout::{Layout, SUFFIXES};
use super::store::{Object, ReadError, Sink, StoreError};
use super::{Archive, Entry};
use crate::wal::{SegmentSize, WalFileName};
use sha1::{Digest, Sha1};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

/// Plain bytes that a file other than a segment may have: a history file holds a line for each ancestor.
const SMALL_BYTES_MAX: u64 = 16 << 20;

/// Stored bytes beyond the plain size that a compressor or cipher may add to what does not compress.
const OVERHEAD_BYTES_MAX: u64 = 32 << 20;

/// Of an object that is neither WAL nor anything known, and that WAL-G's key does not open.
const NOT_OPENED: &str =
    "is encrypted or in an unknown format, and the key in WALG_LIBSODIUM_KEY does not open it";

/// Of a message of OpenPGP, where there is no key.
const PGP_KEY_NEEDED: &str = "is encrypted with OpenPGP: its private key is needed, in WALG_PGP_KEY or WALG_PGP_KEY_PATH \
                              (and WALG_PGP_KEY_PASSPHRASE)";

/// Buffers that one worker uses again for each object that it reads.
#[derive(Debug, Default)]
pub struct Scratch {
    /// A piece of an object as it is stored.
    pub raw: Vec<u8>,
    /// A whole object as it is stored, where that is needed to decode it.
    stored: Vec<u8>,
    buffers: Buffers,
}

impl Archive {
    /// Hands the plain bytes of `entry` to `sink` in order, in pieces of the reader's choosing, until the object
    /// ends or `sink` breaks.
    ///
    /// After an error the pieces handed out so far are what could be had: the WAL before the damage. Where the
    /// object's name promises a checksum it is checked when everything was handed out.
    pub fn read(&self, entry: &Entry, scratch: &mut Scratch, sink: Sink<'_>) -> Result<(), ReadError> {
        let limit = match entry.name {
            WalFileName::Segment(_) | WalFileName::Partial(_) => SegmentSize::MAX.bytes(),
            WalFileName::Backup(..) | WalFileName::History(_) => SMALL_BYTES_MAX,
        };
        let Some(expected) = self.rules.promised_sha1(&entry.object.path) else {
            return self.read_plain(&entry.object, limit, scratch, sink);
        };
        let mut hasher = Sha1::new();
        let mut broke = false;
        self.read_plain(&entry.object, limit, scratch, &mut |piece| {
            hasher.update(piece);
            let flow = sink(piece);
            broke |= flow.is_break();
            flow
        })?;
        let found = hex(&hasher.finalize());
        if broke || found.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(ReadError::Checksum { path: entry.object.path.clone(), expected: expected.to_owned(), found })
    }

    /// The plain bytes of a small object (a history, a label), of which at most `limit` are taken.
    pub fn read_small(&self, entry: &Entry, limit: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        self.read(entry, &mut Scratch::default(), &mut |piece| take_up_to(&mut bytes, piece, limit))?;
        Ok(bytes)
    }

    /// The plain bytes of any small object of the archive (a backup's description), of which at most `limit`
    /// are taken.
    pub fn read_object(&self, object: &Object, limit: usize) -> Result<Vec<u8>, ReadError> {
        let mut bytes = Vec::new();
        let sink = &mut |piece: &[u8]| take_up_to(&mut bytes, piece, limit);
        self.read_plain(object, SegmentSize::MAX.bytes(), &mut Scratch::default(), sink)?;
        Ok(bytes)
    }

    /// The bytes of a description of base backups as they are stored, wherever it lies: see
    /// [`around`](super::Store::around).
    pub(crate) fn read_description(&self, object: &Object, limit: usize) -> Result<Vec<u8>, ReadError> {
        let Some(folder) = self.store.around() else { return self.read_object(object, limit) };
        let mut bytes = Vec::new();
        folder.read(object, &mut Vec::new(), &mut |piece| take_up_to(&mut bytes, piece, limit))?;
        Ok(bytes)
    }

    /// The plain bytes of what stands at `path` below the archive's root, if something does: pgBackRest's
    /// `archive.info`. At most `limit` bytes are taken.
    pub fn read_path(&self, path: &Path, limit: usize) -> Result<Option<Vec<u8>>, ReadError> {
        match self.store.find(path)? {
            Some(object) => self.read_object(&object, limit).map(Some),
            None => Ok(None),
        }
    }

    /// Reads, decrypts and decodes.
    fn read_plain(
        &self,
        object: &Object,
        limit: u64,
        scratch: &mut Scratch,
        sink: Sink<'_>,
    ) -> Result<(), ReadError> {
        let mut incoming = Incoming::new(object, self.layout(), limit, &mut scratch.stored);
        incoming.has_key = self.secrets.stream.is_some();
        self.store.read(object, &mut scratch.raw, &mut |piece| incoming.take(piece, sink))?;
        let codec = incoming.finish(sink)?;
        let refused = |detail| ReadError::Undecodable { path: object.path.clone(), detail };
        let Some(codec) = codec else { return Ok(()) };
        if codec == Codec::SecretStream {
            return self.read_stream(object, limit, scratch, sink).map_err(refused);
        }
        if codec == Codec::OpenPgp {
            return self.read_pgp(object, limit, scratch, sink).map_err(refused);
        }
        if codec != Codec::OpensslSalted {
            return codec::decode(codec, &scratch.stored, limit, &mut scratch.buffers, sink).map_err(refused);
        }
        let plain = self.decrypt(object, &mut scratch.stored).map_err(refused)?;
        codec::decode(told_by(&object.path, plain), plain, limit, &mut scratch.buffers, sink).map_err(refused)
    }

    /// Decrypts and decodes an object that may be encrypted with libsodium, which has no magic bytes.
    fn read_stream(
        &self,
        object: &Object,
        limit: u64,
        scratch: &mut Scratch,
        sink: Sink<'_>,
    ) -> Result<(), String> {
        let key = self.secrets.stream.as_ref();
        let opened = key.and_then(|key| key.decrypt(&scratch.stored));
        let plain = opened.as_deref().unwrap_or(&scratch.stored);
        match told_by(&object.path, plain) {
            Codec::None if opened.is_none() => Err(NOT_OPENED.to_owned()),
            codec => codec::decode(codec, plain, limit, &mut scratch.buffers, sink),
        }
    }

    /// Decrypts and decodes a message of OpenPGP. What is named as brotli's, which can begin with any bytes, may be no
    /// message.
    fn read_pgp(
        &self,
        object: &Object,
        limit: u64,
        scratch: &mut Scratch,
        sink: Sink<'_>,
    ) -> Result<(), String> {
        let (path, stored, buffers) = (&object.path, &scratch.stored, &mut scratch.buffers);
        match self.open_pgp(stored, limit) {
            Ok(plain) => codec::decode(told_by(path, &plain), &plain, limit, buffers, sink),
            Err(closed) if suffix(path) == Some("br") => {
                codec::decode(Codec::Brotli, stored, limit, buffers, sink).map_err(|_| closed)
            }
            Err(closed) => Err(closed),
        }
    }

    /// Decrypts a message of OpenPGP.
    fn open_pgp(&self, stored: &[u8], limit: u64) -> Result<Vec<u8>, String> {
        match &self.secrets.open_pgp {
            None => Err(PGP_KEY_NEEDED.to_owned()),
            Some(Ok(keys)) => {
                keys.decrypt(stored, limit.saturating_add(OVERHEAD_BYTES_MAX)).map_err(|error| {
                    format!(
                        "is encrypted with OpenPGP, and the key in WALG_PGP_KEY does not open it: {error}"
                    )
                })
            }
            Some(Err(unusable)) => Err(format!(
                "is encrypted with OpenPGP, and the key in WALG_PGP_KEY or WALG_PGP_KEY_PATH cannot be used with \
                 WALG_PGP_KEY_PASSPHRASE: {unusable}"
            )),
        }
    }

    /// Decrypts an object of pgBackRest's where it lies.
    fn decrypt<'a>(&self, object: &Object, stored: &'a mut [u8]) -> Result<&'a [u8], String> {
        let is_info = object.path.to_string_lossy().contains(".info");
        let passphrase = if is_info {
            self.secrets.repository.iter().find(|secret| opens_info(secret, stored))
        } else {
            self.wal_passphrase.get_or_init(|| self.find_wal_passphrase()).as_ref()
        };
        let Some(passphrase) = passphrase else {
            return Err("is encrypted with AES (pgBackRest's form) and no passphrase that opens it is in \
                        PGBACKREST_REPO1_CIPHER_PASS or pgBackRest's configuration"
                .to_owned());
        };
        passphrase
            .decrypt(stored)
            .ok_or_else(|| "is encrypted and does not decrypt: it is damaged".to_owned())
    }

    /// The passphrase of the WAL: what archive.info says once it is opened.
    fn find_wal_passphrase(&self) -> Option<Passphrase> {
        let info = self.read_path(self.rules.archive_info()?, 1 << 20).ok()??;
        cipher::inner_passphrase(std::str::from_utf8(&info).ok()?)
    }
}

/// Whether `secret` opens an info file, which begins with a section.
fn opens_info(secret: &Passphrase, stored: &[u8]) -> bool {
    secret.decrypt(&mut stored.to_vec()).is_some_and(|plain| plain.starts_with(b"["))
}

/// What has been found out about an object from the bytes that came so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Too few bytes to tell.
    Head,
    /// Plain bytes: handed on as they come.
    Plain,
    /// To be decoded when all bytes are there.
    Collect(Codec),
    /// Neither WAL nor text nor anything known, where the layout or the name promises something known.
    Enigma,
    /// More stored bytes than any segment can take.
    TooLarge,
}

/// Stored bytes as they come in: handed on at once where they are plain, collected where they must be decoded.
struct Incoming<'a> {
    object: &'a Object,
    layout: Layout,
    limit: u64,
    stored: &'a mut Vec<u8>,
    state: State,
    taken: u64,
    stopped: bool,
    /// There is a key for what has no magic bytes.
    has_key: bool,
    /// The bytes were so many that their first page was asked for the segment's size.
    asked_size: bool,
}

impl<'a> Incoming<'a> {
    fn new(object: &'a Object, layout: Layout, limit: u64, stored: &'a mut Vec<u8>) -> Self {
        stored.clear();
        Self {
            object,
            layout,
            limit,
            stored,
            state: State::Head,
            taken: 0,
            stopped: false,
            has_key: false,
            asked_size: false,
        }
    }

    fn take(&mut self, piece: &[u8], sink: Sink<'_>) -> ControlFlow<()> {
        self.taken += piece.len() as u64;
        let flow = match self.state {
            State::Plain => sink(piece),
            State::Collect(_) => self.collect(piece),
            State::Head if self.stored.is_empty() && piece.len() >= MAGIC_BYTES => self.begin(piece, sink),
            State::Head => {
                self.stored.extend_from_slice(piece);
                if self.stored.len() < MAGIC_BYTES {
                    ControlFlow::Continue(())
                } else {
                    self.begin_stored(sink)
                }
            }
            State::Enigma | State::TooLarge => ControlFlow::Break(()),
        };
        self.stopped |= flow.is_break();
        flow
    }

    fn begin_stored(&mut self, sink: Sink<'_>) -> ControlFlow<()> {
        let head = std::mem::take(self.stored);
        self.begin(&head, sink)
    }

    /// Takes the first bytes, which tell what the object is.
    fn begin(&mut self, head: &[u8], sink: Sink<'_>) -> ControlFlow<()> {
        let told = match told_by(&self.object.path, head) {
            Codec::None if self.has_key && self.is_enigma(head) => Codec::SecretStream,
            // Brotli, unless it is opened: see `read_pgp`.
            Codec::Brotli if codec::sniff(head) == Codec::OpenPgp => Codec::OpenPgp,
            // Neither has magic bytes.
            Codec::Brotli if self.has_key => Codec::SecretStream,
            told => told,
        };
        match told {
            Codec::None if self.is_enigma(head) => {
                self.state = State::Enigma;
                ControlFlow::Break(())
            }
            Codec::None => {
                self.state = State::Plain;
                sink(head)
            }
            codec => {
                self.state = State::Collect(codec);
                let expected = self.object.identity.size.min(self.limit.saturating_add(OVERHEAD_BYTES_MAX));
                // Where there is no room at once, `collect` finds it as the bytes come, or not.
                let _ = self.stored.try_reserve(usize::try_from(expected).unwrap_or(0));
                self.collect(head)
            }
        }
    }

    fn collect(&mut self, piece: &[u8]) -> ControlFlow<()> {
        if self.taken > self.limit.saturating_add(OVERHEAD_BYTES_MAX) {
            self.state = State::TooLarge;
            return ControlFlow::Break(());
        }
        self.stored.extend_from_slice(piece);
        if let State::Collect(codec) = self.state
            && !self.asked_size
            && self.taken > OVERHEAD_BYTES_MAX
        {
            self.asked_size = true;
            let size = codec::segment_size(codec, self.stored);
            self.limit = size.map_or(self.limit, |size| self.limit.min(size.bytes()));
        }
        ControlFlow::Continue(())
    }

    /// Whether bytes that look like nothing known must be something else than WAL: the name says that they are
    /// compressed, or the tool compresses everything and the size is not a segment's.
    fn is_enigma(&self, head: &[u8]) -> bool {
        let is_text = head.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace());
        let has_segment_size = SegmentSize::new(self.object.identity.size).is_some();
        let promised =
            suffix(&self.object.path).is_some() || self.layout == Layout::WalG && !has_segment_size;
        promised && !is_wal_page(head) && (head.is_empty() || !is_text)
    }

    /// What is left to decode; `None` if everything was handed out, or the sink broke.
    fn finish(mut self, sink: Sink<'_>) -> Result<Option<Codec>, ReadError> {
        if self.state == State::Head {
            self.stopped |= self.begin_stored(sink).is_break();
        }
        let path = || self.object.path.clone();
        let refused = |detail| Err(ReadError::Undecodable { path: path(), detail });
        match self.state {
            State::Enigma => return refused(self.describe_enigma()),
            State::TooLarge => return refused(format!("has more than {} bytes as it is stored", self.taken)),
            _ => {}
        }
        let listed = self.object.identity.size;
        if !self.stopped && self.taken != listed {
            let detail = format!("it had {listed} bytes then and {} now", self.taken);
            return Err(StoreError::Changed { path: path(), detail }.into());
        }
        Ok(match self.state {
            State::Collect(codec) => Some(codec),
            _ => None,
        })
    }

    fn describe_enigma(&self) -> String {
        match (self.taken, suffix(&self.object.path)) {
            (0, _) => "is empty".to_owned(),
            (_, Some(suffix)) => {
                format!(
                    "is named .{suffix} and holds nothing known: it is damaged, encrypted or in another format"
                )
            }
            _ => "is encrypted or in an unknown format (WAL-G's libsodium key is taken from WALG_LIBSODIUM_KEY or \
                  WALG_LIBSODIUM_KEY_PATH)"
                .to_owned(),
        }
    }
}

/// How the object at `path` with these first bytes is stored.
fn told_by(path: &Path, head: &[u8]) -> Codec {
    if suffix(path) != Some("br") || is_wal_page(head) {
        return codec::sniff(head);
    }
    // Brotli's own first bytes can be anything, so only magics that are long enough count against the name.
    match codec::sniff(head) {
        strong @ (Codec::Gzip | Codec::Zstd | Codec::Lz4 | Codec::Bzip2 | Codec::Xz | Codec::Snappy) => {
            strong
        }
        _ => Codec::Brotli,
    }
}

/// Whether the bytes begin as a page of WAL does: magic, then flags of which four are in use.
///
/// PostgreSQL: `src/include/access/xlog_internal.h` (`XLogPageHeaderData`, `XLP_ALL_FLAGS`), 9.5 to 19.
fn is_wal_page(head: &[u8]) -> bool {
    matches!(head, [_, 0xD0..=0xD1, 0..=0x0F, 0, ..])
}

/// The compression suffix of a stored file's name.
fn suffix(path: &Path) -> Option<&str> {
    let suffix = path.extension()?.to_str()?;
    SUFFIXES.contains(&suffix).then_some(suffix)
}

fn take_up_to(bytes: &mut Vec<u8>, piece: &[u8], limit: usize) -> ControlFlow<()> {
    let room = limit.saturating_sub(bytes.len());
    bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    if bytes.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
