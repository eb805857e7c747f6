//! Id dictionaries as sections.

use super::{Image, Writer, kinds};
use crate::error::{Error, Result};
use crate::ids::IdsRef;

/// Which dictionary of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dictionary {
    /// The users.
    Users,
    /// The items.
    Items,
    /// Those who have a segment and no interactions.
    Members,
}

impl Dictionary {
    /// Kinds of the sections: integers, fixed, bytes, offsets.
    fn kinds(self) -> [u32; 4] {
        match self {
            Self::Users => [
                kinds::USER_IDS_INTEGER,
                kinds::USER_IDS_FIXED,
                kinds::USER_IDS_BYTES,
                kinds::USER_IDS_OFFSETS,
            ],
            Self::Items => [
                kinds::ITEM_IDS_INTEGER,
                kinds::ITEM_IDS_FIXED,
                kinds::ITEM_IDS_BYTES,
                kinds::ITEM_IDS_OFFSETS,
            ],
            Self::Members => [
                kinds::MEMBER_IDS_INTEGER,
                kinds::MEMBER_IDS_FIXED,
                kinds::MEMBER_IDS_BYTES,
                kinds::MEMBER_IDS_OFFSETS,
            ],
        }
    }

    /// Adds the ids to an image that is written.
    pub fn write<'a>(self, writer: &mut Writer<'a>, ids: IdsRef<'a>) {
        let [integer, fixed, any, at] = self.kinds();
        match ids {
            IdsRef::Integer(values) => writer.section(integer, values),
            IdsRef::Fixed16(values) => writer.section(fixed, values),
            IdsRef::Bytes { offsets, bytes } => writer.section(any, bytes).section(at, offsets),
        };
    }

    /// The ids of an image, served in place. Looks at no id: [`IdsRef::check`] does.
    /// `Error::Corrupted` where there are none or they are there in two forms.
    pub fn read<'a>(self, image: &Image<'a>) -> Result<IdsRef<'a>> {
        let [integer, fixed, any, at] = self.kinds();
        let integers = image.optional_section::<i64>(integer)?;
        let fixed = image.optional_section::<[u8; 16]>(fixed)?;
        let any = image.optional_section::<u8>(any)?;
        let ids = match (integers, fixed, any) {
            (Some(values), None, None) => IdsRef::Integer(values),
            (None, Some(values), None) => IdsRef::Fixed16(values),
            (None, None, Some(bytes)) => IdsRef::Bytes { offsets: image.section(at)?, bytes },
            (None, None, None) => return Err(Error::Corrupted("a dictionary is missing")),
            _ => return Err(Error::Corrupted("a dictionary is there twice")),
        };
        Ok(ids)
    }
}
