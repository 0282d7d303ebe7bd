"""The built-in golden prompts: short questions of the kinds that users ask."""

PROMPTS = (
    "Why do leaves change their colour in autumn?",
    "Write a Python function that tells whether a word reads the same backwards.",
    "Give me three tips for sleeping better.",
    "What is the capital of Italy, and what is it known for?",
    "Write the first sentences of a story about a lighthouse keeper.",
    "Explain in simple words what a database index does.",
    "A shirt costs 40 euros and is reduced by 25 percent. What does it cost now?",
    "Summarise: The meeting was moved to Friday because the room is being painted on Thursday.",
    "List the steps for making a cup of tea.",
    "What is the difference between a virus and a bacterium?",
    "Write a polite e-mail that asks a colleague for the figures of last month.",
    "How does a bicycle stay upright while it moves?",
    "Write an SQL query that counts the orders of each customer.",
    "Name some animals that are active at night, and say how they find their way.",
    "Is it better to rent or to buy a flat? Give one argument for each.",
    "Describe the taste of an orange to somebody who has never eaten one.",
)
