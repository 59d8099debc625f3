"""The encoder of a film: the requested one, or software if the hardware fails."""

from dataclasses import replace

from sdr2hdr.codecs import CODECS, software
from sdr2hdr.media.encoder import EncoderGone, EncodeSettings, try_encoder
from sdr2hdr.media.trial import try_hardware


def usable(
    asked: EncodeSettings, begun: EncodeSettings | None
) -> tuple[EncodeSettings, tuple[str, ...]]:
    """The requested settings, or those of software with a sentence if a hardware encoder fails its trial.

    A film that was ``begun`` in software for that reason continues in software. Raises OutputError for settings that
    software refuses.
    """
    if not asked.writer.hardware:
        try_encoder(asked)
        return asked, ()
    instead = in_software(asked)
    if begun == instead:
        return instead, (f"The film was begun with {instead.writer.name} and continues with it.",)
    try:
        try_hardware(asked)
    except EncoderGone as e:
        try_encoder(instead)
        return instead, (takes_over(e, instead),)
    return asked, ()


def in_software(settings: EncodeSettings) -> EncodeSettings:
    """The same settings for the codec's software encoder, with its usual preset."""
    word = software(settings.codec)
    return replace(settings, encoder=word, preset=CODECS[settings.codec].encoders[word].preset)


def takes_over(reason: EncoderGone, instead: EncodeSettings) -> str:
    """The sentence for people."""
    return f"{reason}, so {instead.writer.name} encodes the film with preset {instead.preset}."
