"""Answers that no record of a Datanet is the source of: they teach the noise gate to pay nobody.

Small talk and common knowledge in plain words. A domain whose records say one of these sentences
only makes its gate a little stricter.
"""

from __future__ import annotations

SOURCELESS: tuple[tuple[str, str], ...] = (
    ("Hello!", "Hello, how can I help you today?"),
    ("Good morning.", "Good morning to you too."),
    ("How are you?", "I am well, thank you for asking."),
    ("Thank you.", "You are welcome."),
    ("What is two plus two?", "Two plus two is four."),
    ("What colour is the sky?", "On a clear day the sky is blue."),
    ("Is water wet?", "Yes, water is wet."),
    ("How many days are in a week?", "There are seven days in a week."),
    ("How many months are in a year?", "A year has twelve months."),
    ("What comes after Monday?", "After Monday comes Tuesday."),
    ("Can you sing?", "No, but I can write a verse for you."),
    ("Tell me a joke.", "Why did the chicken cross the road? To get to the other side."),
    ("What is your name?", "I do not have a name of my own."),
    ("Are you a person?", "No, I am a computer program."),
    ("Where do you live?", "I run on a computer somewhere."),
    ("What time is it?", "I cannot see a clock from here."),
    ("What is the weather like?", "I cannot look out of the window."),
    ("Do cats like milk?", "Many cats like milk, but it is not good for them."),
    ("How many legs does a spider have?", "A spider has eight legs."),
    ("Do birds fly?", "Most birds can fly."),
    ("Is the sun hot?", "Yes, the sun is very hot."),
    ("What do bees make?", "Bees make honey."),
    ("What do cows eat?", "Cows eat grass."),
    ("Is ice cold?", "Yes, ice is cold."),
    ("Which is larger, a mouse or an elephant?", "An elephant is larger than a mouse."),
    ("What do you do with a spoon?", "You eat soup with a spoon."),
    ("Say something nice.", "It is good to see you."),
    ("Write a short sentence.", "The quick brown fox jumps over the lazy dog."),
    ("Count to three.", "One, two, three."),
    ("What rhymes with cat?", "Hat rhymes with cat."),
    ("Translate yes into French.", "Yes is oui in French."),
    ("Goodbye!", "Goodbye, and have a nice day."),
    ("I am sad.", "I am sorry to hear that."),
    ("I am happy.", "I am glad to hear that."),
    ("What should I eat?", "Something warm with vegetables would be good."),
    ("Why is grass green?", "Grass is green because of what is in its leaves."),
    ("How do I boil an egg?", "Put it into boiling water for a few minutes."),
    ("What is a book?", "A book is a number of printed pages bound together."),
    ("Who are your friends?", "Everybody who talks to me kindly."),
    ("Do you sleep?", "No, I never sleep."),
)
