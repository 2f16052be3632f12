"""How a finished model is tried: hardship, everyday sounds, and getting used to a room.

::

    corpora -> conditions -> hearing -> robustness     accuracy under noise, rooms, a telephone
                   noise, rooms, telephone             what the conditions are made of
    sounds  -> environment                             emotion events an hour of no speech
    corpora -> adaptation                              UAR after 0, 5, 20, 50 utterances

:func:`probe` is for everybody who has a model and clips; :func:`try_model` does all three with the
speakers and sounds that a recipe leaves for it. ``serd-train probe`` writes what it gives to
``probes.json``, an object with these keys, each part there only if it was asked for::

    model         name, version, network_sha256
    fold          whose test speakers were heard
    robustness
        seed, coverage
        noise         names of the noise recordings, none of which training heard
        about         {condition: words for a table}; "clean" comes first
        corpora
            {corpus}
                clips, speakers, classes
                conditions
                    {condition}: accuracy, uar, accuracy_at_coverage, four_groups_accuracy, ece,
                                 recall {class: share}, as training.evaluate.figures gives them
    environment
        events_per_hour         the default detector, folds that training never heard, no throats
        human_events_per_hour   the same of ``human`` kinds
        seed, threshold, pause_s, pause_dbfs
        held_out_folds          folds of ESC-10 that training never heard
        human                   kinds that are counted apart
        engines
            {engine}
                all, held_out             of all folds, and of held_out_folds
                    kinds {kind: count}
                    sounds, human, everything: count    summed over kinds
                silence {level: count}    digital, -60 dBFS, ...
                speech {corpus: clips, heard, decided}  clips of speech, for comparison
                segmenter                 utterances, and those dropped by reason
    adaptation
        heard             [0, 5, 20, 50]: utterances that a room has heard
        seeds, household (voices in it), neutral_share
        validation_heard  whether the last stretch of training heard the validation speakers
        methods
            features, scores
                strength, prior           chosen on validation speakers
                tried                     [strength, prior, gain]
                validation, test
                    speaker, household, mostly_neutral
                        {corpus}: voices, clips, and in the order of ``heard``
                                  uar, uar_sd (over seeds), usual_accuracy;
                                  gain_20, gain_20_se (over voices)

A ``count`` has clips, seconds, utterances, uncertain, events and events_per_hour; where it is of
one kind of sound also emotions {class: events}. What each measure means is said in the module that
takes it: :mod:`training.probes.environment`, :mod:`training.probes.adaptation`.
"""

from __future__ import annotations

from training.probes.conditions import CONDITIONS
from training.probes.robustness import probe
from training.probes.trial import PARTS, try_model

__all__ = ["CONDITIONS", "PARTS", "probe", "try_model"]
