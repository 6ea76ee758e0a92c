//! The bytes that a record rests in.

use super::{
    Damage, Digest, MAX_NAME, MAX_PAYLOAD, Payload, Record, Sealed, Status, StepId, WorkflowId,
};

const MAGIC: &[u8; 4] = b"BTRS";
const FORMAT: u8 = 1;
/// No parent: versions start at 1.
const NONE: u64 = 0;

impl Record {
    /// The form in which the record is stored: all fields in a fixed order, little endian, texts and
    /// payload preceded by their length, and the digest of all that at the end.
    pub fn seal(&self) -> (Vec<u8>, Digest) {
        let texts =
            self.workflow.namespace.len() + self.workflow.workflow.len() + self.step.name.len();
        let mut bytes = Vec::with_capacity(160 + texts + self.payload.bytes.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[FORMAT, self.payload.codec, self.status as u8, 0]);
        bytes.extend_from_slice(&self.payload.schema.to_le_bytes());
        bytes.extend_from_slice(&self.attempt.to_le_bytes());
        bytes.extend_from_slice(&self.step.occurrence.to_le_bytes());
        for number in [self.version, self.parent.unwrap_or(NONE), self.epoch, self.created] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.fingerprint.0);
        bytes.extend_from_slice(&self.previous.0);
        for part in [
            self.workflow.namespace.as_bytes(),
            self.workflow.workflow.as_bytes(),
            self.step.name.as_bytes(),
            &self.payload.bytes,
        ] {
            bytes.extend_from_slice(&(part.len() as u32).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        let digest = Digest::of(&bytes);
        bytes.extend_from_slice(&digest.0);
        (bytes, digest)
    }

    /// Reads the stored form back, if every bit of it is as it was sealed.
    pub fn open(bytes: &[u8]) -> Result<Sealed, Damage> {
        let (body, digest) = bytes.split_last_chunk::<32>().ok_or(Damage::Digest)?;
        let digest = Digest(*digest);
        if Digest::of(body) != digest {
            return Err(Damage::Digest);
        }
        // From here on the bytes are what some release wrote.
        let mut reader = Reader(body);
        if reader.array::<4>()? != *MAGIC {
            return Err(Damage::Misplaced);
        }
        let [format, codec, status, _] = reader.array()?;
        if format != FORMAT {
            return Err(Damage::Format(format));
        }
        let status = Status::from_byte(status).ok_or(Damage::Format(format))?;
        let schema = reader.u32()?;
        let attempt = reader.u32()?;
        let occurrence = reader.u32()?;
        let version = reader.u64()?;
        let parent = Some(reader.u64()?).filter(|parent| *parent != NONE);
        let epoch = reader.u64()?;
        let created = reader.u64()?;
        let fingerprint = Digest(reader.array()?);
        let previous = Digest(reader.array()?);
        let workflow = WorkflowId::new(reader.text()?, reader.text()?);
        let step = StepId::new(reader.text()?).occurrence(occurrence);
        let payload = Payload { codec, schema, bytes: reader.part(MAX_PAYLOAD)?.to_vec() };
        let record = Record {
            workflow,
            version,
            parent,
            step,
            attempt,
            epoch,
            status,
            created,
            fingerprint,
            payload,
            previous,
        };
        Ok(Sealed { record, digest })
    }

    /// How long the stored form is that begins here, if one does; its seal may be broken all the same. `None`
    /// too if too little is given to tell.
    ///
    /// For those who look for records in the ruins of a file.
    pub fn length(bytes: &[u8]) -> Option<usize> {
        const NUMBERS: usize = 4 + 3 * 4 + 4 * 8 + 2 * 32;
        let mut at = MAGIC.len() + NUMBERS;
        bytes.starts_with(MAGIC).then_some(())?;
        for most in [MAX_NAME, MAX_NAME, MAX_NAME, MAX_PAYLOAD] {
            let length = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize;
            (length <= most).then_some(())?;
            at += 4 + length;
        }
        Some(at + 32)
    }

    /// Reads the stored form of a record that must be this version of this workflow.
    pub fn open_at(bytes: &[u8], workflow: &WorkflowId, version: u64) -> Result<Sealed, Damage> {
        let sealed = Self::open(bytes)?;
        if sealed.workflow == *workflow && sealed.version == version {
            Ok(sealed)
        } else {
            Err(Damage::Misplaced)
        }
    }
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(Damage::Digest)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_le_bytes)
    }

    fn part(&mut self, most: usize) -> Result<&'a [u8], Damage> {
        let length = self.u32()? as usize;
        if length > most {
            return Err(Damage::Digest);
        }
        let (part, rest) = self.0.split_at_checked(length).ok_or(Damage::Digest)?;
        self.0 = rest;
        Ok(part)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Damage> {
        std::str::from_utf8(self.part(MAX_NAME)?).map_err(|_| Damage::Digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = Record> {
        let digest = || any::<[u8; 32]>().prop_map(Digest);
        let text = || any::<String>();
        (
            (text(), text(), text(), any::<u32>()),
            (1..u64::MAX, 0..u64::MAX, any::<u32>(), any::<u64>(), any::<u64>()),
            prop_oneof![
                Just(Status::Intent),
                Just(Status::Done),
                Just(Status::Failed),
                Just(Status::State),
                Just(Status::Withdrawn)
            ],
            (digest(), digest()),
            (any::<u8>(), any::<u32>(), any::<Vec<u8>>()),
        )
            .prop_map(
                |(
                    (namespace, workflow, step, occurrence),
                    (version, parent, attempt, epoch, created),
                    status,
                    (fingerprint, previous),
                    (codec, schema, bytes),
                )| Record {
                    workflow: WorkflowId::new(namespace, workflow),
                    version,
                    parent: Some(parent).filter(|parent| *parent != 0),
                    step: StepId::new(step).occurrence(occurrence),
                    attempt,
                    epoch,
                    status,
                    created,
                    fingerprint,
                    payload: Payload { codec, schema, bytes },
                    previous,
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(record in records()) {
            let (bytes, digest) = record.seal();
            prop_assert_eq!(Record::open(&bytes), Ok(Sealed { record, digest }));
        }

        #[test]
        fn the_length_is_told_before_the_seal_is_looked_at(record in records(), noise in any::<Vec<u8>>()) {
            let (mut bytes, _) = record.seal();
            let length = bytes.len();
            let needed = length - record.payload.bytes.len() - 32;
            prop_assert_eq!(Record::length(&bytes[..needed]), Some(length));
            prop_assert_eq!(Record::length(&bytes[..needed - 1]), None);
            bytes.extend_from_slice(&noise);
            prop_assert_eq!(Record::length(&bytes), Some(length));
        }

        #[test]
        fn no_flipped_bit_passes(record in records(), place in any::<prop::sample::Index>(), bit in 0..8) {
            let (mut bytes, _) = record.seal();
            let place = place.index(bytes.len());
            bytes[place] ^= 1_u8 << bit;
            prop_assert_eq!(Record::open(&bytes), Err(Damage::Digest));
        }

        #[test]
        fn nothing_cut_short_and_no_noise_passes(record in records(), keep in any::<prop::sample::Index>(), noise in any::<Vec<u8>>()) {
            let (bytes, _) = record.seal();
            prop_assert!(Record::open(&bytes[..keep.index(bytes.len())]).is_err());
            prop_assert!(Record::open(&noise).is_err());
        }
    }

    #[test]
    fn what_a_later_release_wrote_is_told_by_its_number() {
        let record = Record {
            workflow: WorkflowId::new("shop", "1"),
            version: 1,
            parent: None,
            step: "pay".into(),
            attempt: 1,
            epoch: 0,
            status: Status::Done,
            created: 0,
            fingerprint: Digest::default(),
            payload: Payload::default(),
            previous: Digest::default(),
        };
        let (mut bytes, _) = record.seal();
        bytes[4] = 9;
        let body = bytes.len() - 32;
        let digest = Digest::of(&bytes[..body]);
        bytes[body..].copy_from_slice(&digest.0);
        assert_eq!(Record::open(&bytes), Err(Damage::Format(9)));
        assert_eq!(Record::open_at(&record.seal().0, &record.workflow, 2), Err(Damage::Misplaced));
    }
}
